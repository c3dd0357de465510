"""Markdown reports: the metrics of one system, and comparisons of systems."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from espnet2_sv.scoring.intervals import METRIC_NAMES

# Optional columns of a comparison: key, heading, format
_COMPARISON_COLUMNS = (
    ("trained_parameters", "trained parameters", "{:,.0f}"),
    ("gmac_per_second", "GMAC per second", "{:.3f}"),
    ("training_minutes", "training (min)", "{:.1f}"),
)
_DIGITS = {"eer": 2, "eer_part_mean": 2, "mindcf_p01": 3, "mindcf_p05": 3}
_NOTHING = "-"  # in place of a number that there is not
LEGEND = (
    "EER: at the threshold where both are equal, the percentage of target trials that"
    " are rejected and of nontarget trials that are accepted; 0 % is perfect, 50 % is"
    " chance. minDCF 0.01 and 0.05: the cost of errors at the best threshold if 1 % or"
    " 5 % of all comparisons are of one speaker; 1 is the cost without a system.\n"
)
_COMPARED = (
    "Points are percentage points of the EER. Both systems are resampled with the same"
    " speakers; the probability is the fraction of resamplings in which the system is"
    " better.\n"
)


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
        ["EER (%)", with_interval(metrics, "eer")],
        ["EER (%) of the ROC's convex hull", format_number(metrics["eer_rocch"])],
    ]
    for key, prior in (("p01", "0.01"), ("p05", "0.05")):
        rows.append([f"minDCF {prior}", with_interval(metrics, f"mindcf_{key}")])
        rows.append([f"actual DCF {prior}", format_number(metrics[f"actdcf_{key}"])])
    rows += [
        ["Cllr (bits)", format_number(metrics["cllr"])],
        ["minimum Cllr (bits)", format_number(metrics["min_cllr"])],
    ]
    rows = [row for row in rows if row[1] != _NOTHING]
    rows += [
        [f"{name} trials", f"{metrics[f'n_{name}']:,}, scores {_spread(metrics, name)}"]
        for name in ("target", "nontarget")
    ]
    if metrics["n_speakers"] is not None:
        rows.append(["speakers", f"{metrics['n_speakers']:,}"])
    parts = [
        f"# {with_date(title, metrics.get('date'))}\n",
        metrics["list"]["note"] + "\n",
        *set_notes([metrics]),
        markdown_table(["", "value"], rows),
        LEGEND,
        interval_note(metrics["bootstrap"]),
    ]
    if metrics["cllr"] is not None:
        parts.append(
            "Cllr and actual DCF are those of decisions that take the scores as natural"
            " log-likelihood ratios.\n"
        )
    if "compare" in metrics:
        parts.append(_comparison(metrics, metrics["compare"]))
    for name, groups in metrics.get("breakdown", {}).items():
        parts += [f"## By {name}\n", _breakdown_table(groups)]
        parts.append(
            "Misses (targets rejected) and false alarms (nontargets accepted) are those"
            f" at the threshold of the EER over all trials,"
            f" {format_number(metrics['eer_threshold'])}.\n"
        )
    return "\n".join(parts)


def with_date(title: str, date: str | None) -> str:
    """Add the date of the results to a title, if it is known."""
    return f"{title}, {date}" if date else title


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


def set_notes(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what readers must know of the sets, each once, as bold paragraphs.

    Args:
        results: Contents of metrics.json.
    """
    notes = dict.fromkeys(note for m in results for note in m.get("notes") or ())
    return [f"**Note: {_escape(note)}.**\n" for note in notes]


def _comparison(metrics: Mapping[str, Any], compare: Mapping[str, Any]) -> str:
    rows = [
        [
            METRIC_NAMES[name] + (" (%)" if name == "eer" else ""),
            format_number(metrics[name]),
            format_number(c["other"]),
            better_or_worse(c, name),
            _probability(c),
        ]
        for name, c in compare.items()
        if isinstance(c, dict)
    ]
    other = compare["name"]
    head = ["", "this system", other, "this system is", "probability better"]
    return f"## Against {other}\n\n{markdown_table(head, rows)}\n{_COMPARED}"


def better_or_worse(found: Mapping[str, Any], name: str) -> str:
    """Say by how much a system is better or worse, with the interval.

    Args:
        found: An entry of :func:`espnet2_sv.scoring.intervals.compare_metrics`.
        name: Name of the metric; EERs differ by points, which are percentage points.

    Returns:
        E.g. ``4.90 points worse [1.20, 8.60]``; if the interval has both, ``0.061
        better [0.010 worse, 0.132 better]``.
    """
    digits, unit = _DIGITS[name], " points" if name.startswith("eer") else ""
    middle, ends = round(found["difference"], digits), found["difference_ci95"]

    def word(value: float) -> str:
        return "better" if value > 0 else "worse"

    text = "no difference"
    if middle:
        text = f"{abs(middle):.{digits}f}{unit} {word(middle)}"
    if ends is None:
        return text
    low, high = (round(end, digits) for end in ends)
    if low * high <= 0:
        sides = [
            f"{abs(end):.{digits}f} {word(end)}" if end else f"{0:.{digits}f}"
            for end in (low, high)
        ]
    else:
        sides = [f"{size:.{digits}f}" for size in sorted((abs(low), abs(high)))]
    return f"{text} [{', '.join(sides)}]"


def _probability(found: Mapping[str, Any]) -> str:
    p_better = found["p_better"]
    return _NOTHING if p_better is None else f"{100 * p_better:.1f} %"


def _breakdown_table(groups: Mapping[str, Any]) -> str:
    columns = {
        "misses": "misses (%)",
        "false_alarms": "false alarms (%)",
        "eer": "EER (%)",
        "mindcf_p01": "minDCF 0.01",
        "mindcf_p05": "minDCF 0.05",
        "cllr": "Cllr (bits)",
    }
    used = [k for k in columns if any(g.get(k) is not None for g in groups.values())]
    rows = [
        [name, f"{group['n_target']:,}", f"{group['n_nontarget']:,}"]
        + [format_number(group.get(key)) for key in used]
        for name, group in groups.items()
    ]
    head = ["trials", "target", "nontarget", *(columns[key] for key in used)]
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
        return _NOTHING
    low, high = ends
    return f"[{format_number(low)}, {format_number(high)}]"


def format_number(value: float | None) -> str:
    """Three digits after the point; a dash for None."""
    return _NOTHING if value is None else f"{value:.3f}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def comparison_markdown(comparison: Mapping[str, Any], title: str) -> str:
    """Format the result of :func:`espnet2_sv.scoring.comparison.compare`."""
    systems = list(comparison["systems"].values())
    parts = [part["name"] for part in comparison["parts"]]
    page = [
        f"# {with_date(title, comparison.get('date'))}\n",
        _systems_table(systems),
    ]
    if len(parts) > 1:
        page += ["## EER (%) by part\n", _parts_table(systems, parts)]
    if comparison["comparisons"]:
        keys = ["eer", *["eer_part_mean"] * (len(parts) > 1), "mindcf_p05"]
        table = _comparisons_table(comparison["comparisons"], keys)
        page += ["## Paired comparisons\n", table]
    return "\n".join([*page, *_notes(comparison)])


def _systems_table(systems: Sequence[Mapping[str, Any]]) -> str:
    columns = [
        c for c in _COMPARISON_COLUMNS if any(c[0] in system for system in systems)
    ]
    seeds = any(system["n_runs"] > 1 for system in systems)
    head = ["system", "seeds", *(heading for _, heading, _ in columns), "EER (%)"]
    head += ["EER (%) by seed (min-max)"] * seeds + ["minDCF 0.01", "minDCF 0.05"]
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
    comparisons: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> str:
    """Table of comparisons by metrics."""
    head = ["comparison"]
    for key in keys:
        head += [METRIC_NAMES[key], "probability better"]
    rows = []
    for pair in comparisons:
        title = _line(pair["title"])
        systems = [_line(pair[side]) for side in ("system", "against")]
        if not all(name in title for name in systems):
            title += f" ({' against '.join(systems)})"
        row = [title]
        for key in keys:
            row += [better_or_worse(pair[key], key), _probability(pair[key])]
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
            "Better or worse, and the probability: the first of both systems. "
            + _COMPARED
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
    return notes + [f"Some intervals are missing: {why}.\n" for why in missing]


def _with_interval(figures: Mapping[str, Any], key: str) -> str:
    digits, ends = _DIGITS[key], figures[f"{key}_ci95"]
    text = f"{figures[key]:.{digits}f}"
    if ends is None:
        return text
    low, high = ends
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def _line(text: str) -> str:
    return " ".join(text.split())
