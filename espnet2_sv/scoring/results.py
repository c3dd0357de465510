"""Tables of results over many metrics.json.

Either one table with a row per system, or one table per protocol with the test sets
side by side and published results for reference.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import json_number, read_json, read_yaml
from espnet2_sv.scoring.report import (
    LEGEND,
    format_number,
    interval_note,
    markdown_table,
    set_notes,
    with_date,
    with_interval,
)

# Optional columns, from system.json beside a metrics.json: key, heading, format
_SYSTEM_COLUMNS = (
    ("parameters", "parameters", "{:,}"),
    ("trained_parameters", "trained parameters", "{:,}"),
    ("gmac_per_second", "GMAC per second", "{:.3f}"),
    ("training_minutes", "training (min)", "{:.1f}"),
    ("cer_asr_alone", "CER (%), ASR alone", "{:.2f}"),
    ("cer_joint", "CER (%), with speaker", "{:.2f}"),
)
# Kinds of scores, as the recipes name their folders, for readers
SCORE_KINDS = {
    "cosine": "cosine",
    "asnorm": "AS-norm",
    "cosine_calibrated": "cosine, calibrated",
    "asnorm_calibrated": "AS-norm, calibrated",
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")  # e.g. 2026-11-29
_METRICS = (
    ("EER (%)", "eer"),
    ("minDCF 0.01", "mindcf_p01"),
    ("minDCF 0.05", "mindcf_p05"),
)


@dataclass(frozen=True)
class Protocol:
    """How a table's scores were computed.

    Attributes:
        title: Heading of the table.
        kind: Kind of score, e.g. ``asnorm_calibrated``.
        suffix: Suffix of the experiments' names, e.g. ``_lmft``.
    """

    title: str
    kind: str
    suffix: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes:
        description: Content of the first column.
        name: Name of the experiment without suffix; empty if there are only published
            results.
        published: Published results, by kind of score.
    """

    description: str
    name: str = ""
    published: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Layout of the tables.

    Attributes:
        sets: Headings of the test sets, by name.
        protocols: The tables.
        systems: The rows; experiments that are not listed follow them.
        published: Heading of the column of published results.
        notes: Paragraphs below the tables.
    """

    sets: dict[str, str]
    protocols: list[Protocol]
    systems: list[Row]
    published: str = "published"
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | PathLike) -> "Layout":
        """Read a YAML file.

        Raises:
            SVError: It cannot be read or is not a layout.
        """
        conf = read_yaml(path)
        try:
            protocols = [Protocol(**_texts(entry)) for entry in conf.pop("protocols")]
            systems = [_row(entry) for entry in conf.pop("systems")]
            sets = _texts(conf.pop("sets"))
            notes = list(_texts(dict(enumerate(conf.pop("notes", [])))).values())
            return cls(sets, protocols, systems, notes=notes, **_texts(conf))
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            reason = printable(" ".join(str(e).split()), 200)
            raise SVError(f"{path}: is not a layout of results: {reason}") from e


def _row(entry: Any) -> Row:
    published = _texts(entry.pop("published", {}))
    return Row(**_texts(entry), published=published)


def _texts(entry: Any) -> dict[Any, str]:
    """Return a mapping whose values are text; YAML parses ``0.48`` as a number."""
    if not isinstance(entry, dict):
        raise TypeError(f"a mapping of texts is expected, not {type(entry).__name__}")
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError(f"{key} is {type(value).__name__}, not text")
    return {key: str(value) for key, value in entry.items()}


def results_markdown(title: str, systems: Mapping[str, str | PathLike]) -> str:
    """One table with a row per system.

    Args:
        title: Heading of the page; the test sets, if names are EXPERIMENT/SET/KIND, and
            the date are added.
        systems: Path of each system's metrics.json by its name, in row order.

    Raises:
        SVError: A file is missing or is not a metrics.json.
    """
    found = {name: read_metrics(path) for name, path in systems.items()}
    extras = {name: _shown_system(path) for name, path in systems.items()}
    columns = [
        c for c in _SYSTEM_COLUMNS if any(c[0] in extra for extra in extras.values())
    ]
    costs = {"cllr": "Cllr (bits)", "min_cllr": "min Cllr (bits)"}
    costs = {
        key: heading
        for key, heading in costs.items()
        if any(m[key] is not None for m in found.values())
    }
    head = ["system", "target + nontarget trials"]
    head += [*(heading for heading, _ in _METRICS), *costs.values()]
    rows = [
        [
            name,
            _list_name(m),
            *(with_interval(m, key) for _, key in _METRICS),
            *("" if m[key] is None else format_number(m[key]) for key in costs),
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
    marks = set_notes(found.values())
    return "\n".join([_heading(title, found), table, *marks, LEGEND, *lists, *notes])


def _heading(title: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Heading of a page with the test sets and the date of the newest result."""
    names = [name.rsplit("/", 2) for name in found]
    if all(len(name) == 3 for name in names):
        title += f" on {', '.join(dict.fromkeys(dset for _, dset, _ in names))}"
    return f"# {with_date(title, _newest(found.values()))}\n"


def _newest(found: Iterable[Mapping[str, Any]]) -> str | None:
    return max((m["date"] for m in found if "date" in m), default=None)


def _list_name(metrics: Mapping[str, Any]) -> str:
    counts = f"{metrics['n_target']:,} + {metrics['n_nontarget']:,}"
    return f"{metrics['list']['name']}, {counts}" if metrics["list"]["name"] else counts


def read_metrics(path: str | PathLike) -> dict[str, Any]:
    """Read a metrics.json.

    Raises:
        SVError: The file cannot be read or is not a metrics.json.
    """
    metrics = read_json(path)
    try:
        _check_metrics(metrics)
    except (ValueError, KeyError, TypeError) as e:
        raise SVError(f"{path}: is not a metrics.json; write it with sv_metrics") from e
    return metrics


def _check_metrics(metrics: Any) -> None:
    """Check what the tables show; raise ValueError, KeyError or TypeError."""
    for key in ("eer", "mindcf_p01", "mindcf_p05", "cllr", "min_cllr"):
        if metrics[key] is not None:
            json_number(metrics[key])
        ends = metrics.get(f"{key}_ci95")
        if ends is not None:
            low, high = ends
            json_number(low)
            json_number(high)
    for key in ("n_target", "n_nontarget"):
        json_number(metrics[key])
    bootstrap, trials = metrics["bootstrap"], metrics["list"]
    for text in (bootstrap["reason"], trials["name"]):
        if not isinstance(text, str | None):
            raise TypeError
    if not isinstance(trials["note"], str) or not isinstance(bootstrap["unit"], str):
        raise TypeError
    json_number(bootstrap["samples"])
    if not _DATE.fullmatch(metrics.get("date", "2000-01-01")):
        raise ValueError
    notes = metrics.get("notes", [])
    if not isinstance(notes, list):
        raise TypeError
    for note in notes:
        if not isinstance(note, str) or not note.isprintable():
            raise TypeError


def read_system(path: Path) -> dict[str, Any]:
    """Read a system.json; empty if there is none.

    Raises:
        SVError: The file cannot be read or is not a JSON object.
    """
    system = read_json(path) if path.exists() else {}
    if not isinstance(system, dict):
        raise SVError(f"{path}: is not a JSON object")
    return system


def _shown_system(path: str | PathLike) -> dict[str, Any]:
    """Read the system.json beside a metrics.json, and check what the tables show."""
    path = Path(path).parent / "system.json"
    system = read_system(path)
    for key, _, _ in _SYSTEM_COLUMNS:
        try:
            json_number(system.get(key, 0))
        except ValueError as e:
            raise SVError(f"{path}: {key} {e}; write it with sv_describe") from e
    return system


def layout_markdown(
    title: str, layout: Layout, systems: Mapping[str, str | PathLike]
) -> str:
    """Fill the tables of a layout; cells without a measurement stay empty.

    Args:
        title: Heading of the page.
        layout: The tables.
        systems: Paths of metrics.json by ``EXPERIMENT/SET/KIND``; other names are
            ignored.

    Raises:
        SVError: A file is missing or is not a metrics.json.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    sizes: dict[str, dict[str, Any]] = {}
    kinds = {protocol.kind for protocol in layout.protocols}
    for name, path in systems.items():
        key = tuple(name.split("/"))
        if len(key) == 3 and key[1] in layout.sets and key[2] in kinds:
            found[key] = read_metrics(path)
            sizes[key[0]] = _shown_system(path)
    parts = [f"# {with_date(title, _newest(found.values()))}\n"]
    for protocol in layout.protocols:
        rows = [
            row for row in layout.systems if row.name or protocol.kind in row.published
        ]
        rows += _further(layout, protocol, found)
        cells = [_cells(row, layout, protocol, found, sizes) for row in rows]
        parts += [f"## {protocol.title}\n", markdown_table(_head(layout), cells)]
    notes = dict.fromkeys(interval_note(m["bootstrap"]) for m in found.values())
    parts += set_notes(found.values())
    legend = [LEGEND] if found else []
    notes_of_layout = (f"{note}\n" for note in layout.notes)
    return "\n".join([*parts, *notes_of_layout, *legend, *notes])


def _head(layout: Layout) -> list[str]:
    measured = [
        f"{name} {metric}" for name in layout.sets.values() for metric, _ in _METRICS
    ]
    return ["system", *measured, "parameters", "GMAC per second", layout.published]


def _cells(row, layout, protocol, found, sizes) -> list[str]:
    experiment = row.name + protocol.suffix if row.name else ""
    cells = [row.description]
    for dset in layout.sets:
        metrics = found.get((experiment, dset, protocol.kind))
        cells += [with_interval(metrics, key) if metrics else "" for _, key in _METRICS]
    size = sizes.get(experiment, {})
    for key, form in (("parameters", "{:,}"), ("gmac_per_second", "{:.3f}")):
        cells.append(form.format(size[key]) if key in size else "")
    return [*cells, row.published.get(protocol.kind, "")]


def _further(layout: Layout, protocol: Protocol, found) -> list[Row]:
    """Return the experiments of a protocol that the layout does not list."""
    named = {row.name for row in layout.systems}
    suffixes = [
        p.suffix for p in layout.protocols if p.suffix and p.suffix != protocol.suffix
    ]
    names = [
        experiment.removesuffix(protocol.suffix)
        for experiment, _, kind in found
        if kind == protocol.kind
        and experiment.endswith(protocol.suffix)
        and not experiment.endswith(tuple(suffixes))
    ]
    return [Row(name, name) for name in dict.fromkeys(names) if name not in named]
