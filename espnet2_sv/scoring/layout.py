"""Results as tables of systems by test sets, a table a protocol, beside published figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.report import (
    interval_note,
    markdown_table,
    read_metrics,
    read_system,
    with_interval,
)

_METRICS = (
    ("EER (%)", "eer"),
    ("minDCF 0.01", "mindcf_p01"),
    ("minDCF 0.05", "mindcf_p05"),
)


@dataclass(frozen=True)
class Protocol:
    """How scores were made.

    Attributes:
        title: Heading of its table.
        kind: Kind of scores, e.g. ``asnorm_calibrated``.
        suffix: What the experiments' names end in, e.g. ``_lmft``.
    """

    title: str
    kind: str
    suffix: str = ""


@dataclass(frozen=True)
class Row:
    """A system.

    Attributes:
        description: What the first column says.
        name: Of the experiment, without suffix; empty for a system that is only
            published.
        published: Published figures by the kind of a protocol.
    """

    description: str
    name: str = ""
    published: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What the tables show.

    Attributes:
        sets: Headings of test sets by their names.
        protocols: The tables.
        systems: The rows; further experiments come after them.
        published: Heading of the column of published figures.
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
            SVError: It cannot be read or has something else in it.
        """
        try:
            conf = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            protocols = [Protocol(**entry) for entry in conf.pop("protocols")]
            systems = [Row(**entry) for entry in conf.pop("systems")]
            return cls(protocols=protocols, systems=systems, **conf)
        except OSError as e:
            raise SVError(f"{path}: cannot be read ({e.strerror})") from e
        except (yaml.YAMLError, AttributeError, KeyError, TypeError) as e:
            raise SVError(
                f"{path}: is no layout of results: {str(e).splitlines()[0]}"
            ) from e


def layout_markdown(
    title: str, layout: Layout, systems: Mapping[str, str | PathLike]
) -> str:
    """Fill the tables with what was measured; the other cells stay empty.

    Args:
        title: Heading of the page.
        layout: What to show.
        systems: Paths of metrics.json by ``EXPERIMENT/SET/KIND``; other names are left
            out.

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
            sizes[key[0]] = read_system(Path(path).parent / "system.json")
    parts = [f"# {title}\n"]
    for protocol in layout.protocols:
        rows = [
            row for row in layout.systems if row.name or protocol.kind in row.published
        ]
        rows += _further(layout, protocol, found)
        cells = [_cells(row, layout, protocol, found, sizes) for row in rows]
        parts += [f"## {protocol.title}\n", markdown_table(_head(layout), cells)]
    notes = dict.fromkeys(interval_note(m["bootstrap"]) for m in found.values())
    return "\n".join([*parts, *(f"{note}\n" for note in layout.notes), *notes])


def _head(layout: Layout) -> list[str]:
    measured = [
        f"{name} {metric}" for name in layout.sets.values() for metric, _ in _METRICS
    ]
    return ["system", *measured, "parameters", "GMAC/s", layout.published]


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
    """Experiments of a protocol that the layout does not name."""
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
