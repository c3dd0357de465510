"""A comparison.json as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from espnet2_sv.scoring.report import markdown_table

# Optional columns: key, heading, format
_SYSTEM_COLUMNS = (
    ("trained_parameters", "trained parameters", "{:,.0f}"),
    ("gmac_per_second", "GMAC/s", "{:.3f}"),
    ("training_minutes", "training (min)", "{:.1f}"),
)
_DIGITS = {"eer": 2, "eer_part_mean": 2, "mindcf_p01": 3, "mindcf_p05": 3}


def comparison_markdown(comparison: Mapping[str, Any], title: str) -> str:
    """Describe what :func:`espnet2_sv.scoring.comparison.compare` found."""
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
    columns = [c for c in _SYSTEM_COLUMNS if any(c[0] in system for system in systems)]
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
    """``figures``: the headings of those to compare, by their names."""
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
            f", in {n_parts} parts that are pooled under one threshold; the mean of the"
            " parts' "
        )
        note += "EER lets each part have its own"
    notes = [
        (
            note + "; " + "figures are means over training seeds.\n"
            if several
            else note + ".\n"
        )
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
        notes.append("There are no intervals, because no resampling was asked for.\n")
    if comparison["comparisons"]:
        notes.append(
            "Differences are those of the other system minus this one: positive where"
            " the first named is better. Both are resampled with the same speakers; the"
            " probability is the share of resamplings in which the first named is"
            " better.\n"
        )
    if samples >= 2 and any(s["n_runs"] == 1 for s in systems):
        notes.append(
            "Where a system has one seed, how much results vary between seeds is not in"
            " its intervals and comparisons, which are therefore too narrow.\n"
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
