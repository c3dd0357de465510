"""Markdown reports: the metrics of one system, and comparisons of systems."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Optional columns of a comparison: key, heading, format
_COMPARISON_COLUMNS = (
    ("trained_parameters", "trained parameters", "{:,.0f}"),
    ("gmac_per_second", "GMAC/s", "{:.3f}"),
    ("training_minutes", "training (min)", "{:.1f}"),
)
_DIGITS = {"eer": 2, "eer_part_mean": 2, "mindcf_p01": 3, "mindcf_p05": 3}


def markdown_table(
    head: Iterable[str], rows: Iterable[Iterable[str]], numbers: bool = True
) -> str:
    """Format a table.

    Args:
        head: Headings of the columns.
        rows: Cells of each row.
        numbers: Whether all columns but the first hold numbers, to be right-aligned.
    """
    head = list(head)
    lines = [head, ["---"] + ["---:" if numbers else "---"] * (len(head) - 1), *rows]
    return "".join(
        f"| {' | '.join(_escape(cell) for cell in line)} |\n" for line in lines
    )


def metrics_markdown(metrics: Mapping[str, Any], title: str) -> str:
    """Format the content of a metrics.json."""
    rows = [
        ["EER (%), plain crossing", with_interval(metrics, "eer")],
        ["EER (%), convex hull", format_number(metrics["eer_rocch"])],
    ]
    for key, prior in (("p01", "0.01"), ("p05", "0.05")):
        rows.append(
            [f"minimum DCF, p = {prior}", with_interval(metrics, f"mindcf_{key}")]
        )
        rows.append(
            [f"actual DCF, p = {prior}", format_number(metrics[f"actdcf_{key}"])]
        )
    rows += [
        ["Cllr (bits)", format_number(metrics["cllr"])],
        ["minimum Cllr (bits)", format_number(metrics["min_cllr"])],
    ]
    rows += [
        [f"{name} trials", f"{metrics[f'n_{name}']:,}, scores {_spread(metrics, name)}"]
        for name in ("target", "nontarget")
    ]
    if metrics["n_speakers"] is not None:
        rows.append(["speakers", f"{metrics['n_speakers']:,}"])
    parts = [
        f"# {title}\n",
        metrics["list"]["note"] + "\n",
        markdown_table(["", "value"], rows),
    ]
    parts.append(interval_note(metrics["bootstrap"]))
    parts.append(
        "Cllr and actual DCF take the scores as natural log-likelihood ratios.\n"
    )
    if "compare" in metrics:
        parts.append(_comparison(metrics["compare"]))
    for name, groups in metrics.get("breakdown", {}).items():
        parts += [f"## By {name}\n", _breakdown_table(groups)]
    return "\n".join(parts)


def interval_note(settings: Mapping[str, Any]) -> str:
    """Describe the intervals of a metrics.json from its ``bootstrap`` entry."""
    if settings["reason"]:
        return f"Some intervals are missing: {settings['reason']}.\n"
    samples = f"{settings['samples']} bootstrap samples of {settings['unit']}"
    note = f"In brackets: 95 % intervals from {samples}"
    if settings["unit"] == "trials":
        note += (
            " (no speakers were given; too narrow, because trials of the same speaker"
            " are correlated)"
        )
    return note + ".\n"


def _comparison(compare: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            format_number(c["other"]),
            format_number(c["difference"]),
            _bracket(c["difference_ci95"]),
            "-" if c["p_better"] is None else f"{100 * c['p_better']:.1f} %",
        ]
        for name, c in compare.items()
        if isinstance(c, dict)
    ]
    head = [
        "metric",
        "other",
        "other - this",
        "95 % interval",
        "resamplings where this is better",
    ]
    return f"## Against {compare['name']}\n\n{markdown_table(head, rows)}"


def _breakdown_table(groups: Mapping[str, Any]) -> str:
    rows = []
    for name, group in groups.items():
        counts = [f"{group['n_target']:,}", f"{group['n_nontarget']:,}"]
        keys = ("eer", "mindcf_p01", "mindcf_p05", "cllr")
        rows.append([name, *counts, *(format_number(group.get(key)) for key in keys)])
    head = ["", "target", "nontarget", "EER (%)", "minDCF 0.01", "minDCF 0.05", "Cllr"]
    return markdown_table(head, rows)


def _spread(metrics: Mapping[str, Any], name: str) -> str:
    mean, deviation = metrics[f"score_mean_{name}"], metrics[f"score_std_{name}"]
    return f"{format_number(mean)} ± {format_number(deviation)}"


def with_interval(metrics: Mapping[str, Any], key: str) -> str:
    """Format a metric and, in brackets, its interval."""
    ends = metrics.get(f"{key}_ci95")
    return format_number(metrics[key]) + (f" {_bracket(ends)}" if ends else "")


def _bracket(ends: Sequence[float] | None) -> str:
    if ends is None:
        return "-"
    low, high = ends
    return f"[{format_number(low)}, {format_number(high)}]"


def format_number(value: float | None) -> str:
    """Three digits after the point; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def comparison_markdown(comparison: Mapping[str, Any], title: str) -> str:
    """Format the result of :func:`espnet2_sv.scoring.comparison.compare`."""
    systems = list(comparison["systems"].values())
    parts = [part["name"] for part in comparison["parts"]]
    page = [f"# {title}\n", _systems_table(systems)]
    if len(parts) > 1:
        page += ["## EER (%) by part\n", _parts_table(systems, parts)]
    if comparison["comparisons"]:
        figures = {"eer": "EER (%)", "mindcf_p05": "minDCF 0.05"}
        if len(parts) > 1:
            figures = {
                "eer": "EER (%)",
                "eer_part_mean": "mean of the parts' EER (%)",
            } | figures
        table = _comparisons_table(comparison["comparisons"], figures)
        page += ["## Paired comparisons\n", table]
    return "\n".join([*page, *_notes(comparison)])


def _systems_table(systems: Sequence[Mapping[str, Any]]) -> str:
    columns = [
        c for c in _COMPARISON_COLUMNS if any(c[0] in system for system in systems)
    ]
    seeds = any(system["n_runs"] > 1 for system in systems)
    head = ["system", "seeds", *(heading for _, heading, _ in columns), "EER (%)"]
    head += ["EER by seed (min-max)"] * seeds + ["minDCF 0.01", "minDCF 0.05"]
    rows = []
    for system in systems:
        row = [_line(system["description"]), str(system["n_runs"])]
        row += [
            form.format(system[key]) if key in system else ""
            for key, _, form in columns
        ]
        row.append(_with_interval(system, "eer"))
        if seeds:
            eers = [run["eer"] for run in system["runs"]]
            row.append(f"{min(eers):.2f}-{max(eers):.2f}" if len(eers) > 1 else "")
        rows.append(
            [*row, *(_with_interval(system, f"mindcf_{p}") for p in ("p01", "p05"))]
        )
    return markdown_table(head, rows)


def _parts_table(systems: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> str:
    rows = [
        [
            _line(system["description"]),
            *(f"{system['eer_by_part'][part]:.2f}" for part in parts),
            _with_interval(system, "eer_part_mean"),
        ]
        for system in systems
    ]
    return markdown_table(["system", *parts, "mean"], rows)


def _comparisons_table(
    comparisons: Sequence[Mapping[str, Any]], figures: Mapping[str, str]
) -> str:
    """Table of comparisons; ``figures`` maps names of metrics to headings."""
    head = ["comparison"]
    for name in figures.values():
        head += [f"difference in {name}", "probability better"]
    rows = []
    for pair in comparisons:
        row = [_line(pair["title"])]
        for key in figures:
            found = pair[key]
            row.append(_with_interval(found, "difference", _DIGITS[key], sign="+"))
            row.append(
                "-" if found["p_better"] is None else f"{100 * found['p_better']:.1f} %"
            )
        rows.append(row)
    return markdown_table(head, rows)


def _notes(comparison: Mapping[str, Any]) -> list[str]:
    systems = comparison["systems"].values()
    n_parts, several = len(comparison["parts"]), any(s["n_runs"] > 1 for s in systems)
    trials = (
        f"{comparison['n_target']:,} target and {comparison['n_nontarget']:,} nontarget"
        " trials"
    )
    note = f"{trials} of {comparison['n_speakers']:,} speakers"
    if n_parts > 1:
        note += (
            f", in {n_parts} parts pooled under one threshold; the mean of the parts'"
            " EER gives each part its own"
        )
    notes = [
        note + "; figures are means over training seeds.\n" if several else note + ".\n"
    ]
    samples = comparison["bootstrap"]["samples"]
    if samples >= 2:
        note = (
            f"In brackets: 95 % intervals from {samples:,} bootstrap samples of"
            " speakers"
        )
        note += ", drawn within each part" if n_parts > 1 else ""
        note += ", and of the seeds of each system that has several" if several else ""
        notes.append(note + ".\n")
    else:
        notes.append("There are no intervals, because no resampling was requested.\n")
    if comparison["comparisons"]:
        notes.append(
            "Differences are those of the other system minus this one: positive where"
            " the first named is better. Both are resampled with the same speakers; the"
            " probability is the fraction of resamplings in which the first named is"
            " better.\n"
        )
    if samples >= 2 and any(s["n_runs"] == 1 for s in systems):
        notes.append(
            "Intervals and comparisons of a system with one seed do not include the"
            " variation between seeds and are therefore too narrow.\n"
        )
    missing = [
        f"{_line(s['description'])}: {s['reason']}" for s in systems if s["reason"]
    ]
    missing = missing if samples >= 2 else []
    return notes + [f"Some intervals are missing, {why}.\n" for why in missing]


def _with_interval(
    figures: Mapping[str, Any], key: str, digits: int | None = None, sign: str = "-"
) -> str:
    form = f"{sign}.{_DIGITS[key] if digits is None else digits}f"
    text = format(figures[key], form)
    ends = figures[f"{key}_ci95"]
    return (
        text
        if ends is None
        else f"{text} [{', '.join(format(end, form) for end in ends)}]"
    )


def _line(text: str) -> str:
    return " ".join(text.split())
