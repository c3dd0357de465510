"""Metrics as Markdown, for one system and for many."""

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError

# Optional columns, from system.json beside a metrics.json: key, heading, format
_SYSTEM_COLUMNS = (
    ("parameters", "parameters", "{:,}"),
    ("trained_parameters", "trained parameters", "{:,}"),
    ("gmac_per_second", "GMAC per second", "{:.3f}"),
    ("training_minutes", "training (min)", "{:.1f}"),
    ("cer_asr_alone", "CER (%), ASR alone", "{:.2f}"),
    ("cer_joint", "CER (%), with speaker", "{:.2f}"),
)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a table; the first column is text, the others are numbers."""
    head = list(head)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(
        f"| {' | '.join(_escape(cell) for cell in line)} |\n" for line in lines
    )


def metrics_markdown(metrics: Mapping[str, Any], title: str) -> str:
    """Describe one system's metrics.json."""
    rows = [
        ["EER (%), plain crossing", with_interval(metrics, "eer")],
        ["EER (%), convex hull", _number(metrics["eer_rocch"])],
    ]
    for key, prior in (("p01", "0.01"), ("p05", "0.05")):
        rows.append(
            [f"minimum DCF, p = {prior}", with_interval(metrics, f"mindcf_{key}")]
        )
        rows.append([f"actual DCF, p = {prior}", _number(metrics[f"actdcf_{key}"])])
    rows += [
        ["Cllr (bits)", _number(metrics["cllr"])],
        ["minimum Cllr (bits)", _number(metrics["min_cllr"])],
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


def results_markdown(title: str, systems: Mapping[str, str | PathLike]) -> str:
    """One table over systems.

    Args:
        title: Heading of the page.
        systems: Path of each system's metrics.json by its name, in the order of the
            rows.

    Raises:
        SVError: A file is missing or is not a metrics.json.
    """
    found = {name: read_metrics(path) for name, path in systems.items()}
    extras = {
        name: read_system(Path(path).parent / "system.json")
        for name, path in systems.items()
    }
    columns = [
        c for c in _SYSTEM_COLUMNS if any(c[0] in extra for extra in extras.values())
    ]
    head = [
        "system",
        "trials",
        "EER (%)",
        "minDCF 0.01",
        "minDCF 0.05",
        "Cllr",
        "min Cllr",
    ]
    rows = [
        [
            name,
            _list_name(m),
            with_interval(m, "eer"),
            *(with_interval(m, f"mindcf_{p}") for p in ("p01", "p05")),
            _number(m["cllr"]),
            _number(m["min_cllr"]),
        ]
        + [
            form.format(extras[name][key]) if key in extras[name] else ""
            for key, _, form in columns
        ]
        for name, m in found.items()
    ]
    table = markdown_table([*head, *(heading for _, heading, _ in columns)], rows)
    notes = dict.fromkeys(interval_note(m["bootstrap"]) for m in found.values())
    lists = dict.fromkeys(m["list"]["note"] + "\n" for m in found.values())
    return "\n".join([f"# {title}\n", table, *lists, *notes])


def read_metrics(path: str | PathLike) -> dict[str, Any]:
    """Read a metrics.json; raises SVError where it is none."""
    metrics = _read_json(path)
    if (
        not isinstance(metrics, dict)
        or not {"eer", "bootstrap", "list"} <= metrics.keys()
    ):
        raise SVError(f"{path}: is not a metrics.json; write it with sv_metrics")
    return metrics


def read_system(path: Path) -> dict[str, Any]:
    """Read a system.json, which need not be there; raises SVError where it is none."""
    system = _read_json(path) if path.exists() else {}
    if not isinstance(system, dict):
        raise SVError(f"{path}: is not a JSON object")
    return system


def _read_json(path: str | PathLike) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except ValueError as e:
        raise SVError(f"{path}: is not JSON ({e})") from e


def _list_name(metrics: Mapping[str, Any]) -> str:
    counts = f"{metrics['n_target']:,} + {metrics['n_nontarget']:,}"
    return f"{metrics['list']['name']}, {counts}" if metrics["list"]["name"] else counts


def interval_note(settings: Mapping[str, Any]) -> str:
    """Say what the intervals of a metrics.json's ``bootstrap`` are, or why there are none."""
    if settings["reason"]:
        return f"Some intervals are missing: {settings['reason']}.\n"
    samples = f"{settings['samples']} bootstrap samples of {settings['unit']}"
    note = f"In brackets: 95 % intervals from {samples}"
    if settings["unit"] == "trials":
        note += (
            " (no speakers were given: too narrow, because trials of a speaker are"
            " alike)"
        )
    return note + ".\n"


def _comparison(compare: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            _number(c["other"]),
            _number(c["difference"]),
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
        rows.append([name, *counts, *(_number(group.get(key)) for key in keys)])
    head = ["", "target", "nontarget", "EER (%)", "minDCF 0.01", "minDCF 0.05", "Cllr"]
    return markdown_table(head, rows)


def _spread(metrics: Mapping[str, Any], name: str) -> str:
    mean, deviation = metrics[f"score_mean_{name}"], metrics[f"score_std_{name}"]
    return f"{_number(mean)} ± {_number(deviation)}"


def with_interval(metrics: Mapping[str, Any], key: str) -> str:
    """Write a metric and, in brackets, its interval."""
    ends = metrics.get(f"{key}_ci95")
    return _number(metrics[key]) + (f" {_bracket(ends)}" if ends else "")


def _bracket(ends: Sequence[float] | None) -> str:
    if ends is None:
        return "-"
    low, high = ends
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")
