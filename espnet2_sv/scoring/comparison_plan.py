"""Comparison plans: systems, their runs from different seeds, and trial lists."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import read_yaml


@dataclass(frozen=True)
class Part:
    """A trial list, e.g. that of a fold.

    Attributes:
        name: Unique among the parts.
        trials: Path of the list.
        utt2spk: Paths of files with the speakers of its names.
    """

    name: str
    trials: str
    utt2spk: list[str]


@dataclass(frozen=True)
class System:
    """A system, trained from one seed or several.

    Attributes:
        name: Unique among the systems.
        description: Its name in tables.
        runs: For each seed, the path of the scores of each part.
        system: Paths of system.json files, which are averaged.
    """

    name: str
    description: str
    runs: list[dict[str, str]]
    system: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """A pair of systems to compare.

    Attributes:
        system: Name of the system that is expected to be better.
        against: Name of the other.
        title: Name of the comparison in tables.
    """

    system: str
    against: str
    title: str


@dataclass(frozen=True)
class Plan:
    """A comparison plan.

    Attributes:
        parts: Trial lists, which are pooled.
        systems: The systems.
        comparisons: Pairs of systems.
    """

    parts: list[Part]
    systems: list[System]
    comparisons: list[Pair]

    @classmethod
    def read(cls, path: str | PathLike) -> "Plan":
        """Read a YAML file; the paths in it are relative to the working directory.

        Raises:
            SVError: It cannot be read or is not a plan; the message says why.
        """
        conf = read_yaml(path)
        try:
            return _parse(conf)
        except SVError as e:
            raise SVError(f"{path}: {printable(str(e), 500)}") from e


def _parse(conf: Any) -> Plan:
    conf = _entry(
        conf, "the plan", required=("parts", "systems"), optional=("comparisons",)
    )
    parts = [
        Part(
            _text(part["name"], where),
            _text(part["trials"], where),
            _texts(part, "utt2spk"),
        )
        for part, where in _entries(conf, "parts", ("name", "trials", "utt2spk"))
    ]
    _refuse_repeats("parts", (part.name for part in parts))
    systems = [
        _system(entry, where, [part.name for part in parts])
        for entry, where in _entries(
            conf, "systems", ("name", "runs"), ("description", "system")
        )
    ]
    _refuse_repeats("systems", (system.name for system in systems))
    names = [system.name for system in systems]
    comparisons = [
        _pair(entry, where, names)
        for entry, where in _entries(
            conf, "comparisons", ("system", "against"), ("title",)
        )
    ]
    return Plan(parts, systems, comparisons)


def _system(entry: Mapping[str, Any], where: str, parts: Sequence[str]) -> System:
    name = _text(entry["name"], where)
    runs = []
    if not isinstance(entry["runs"], list) or not entry["runs"]:
        raise SVError(
            f"system {name}: runs is not a list; give one 'part: scores' mapping per"
            " seed"
        )
    for number, run in enumerate(entry["runs"], 1):
        where = f"system {name}, run {number}"
        if not isinstance(run, dict):
            raise SVError(f"{where}: is not a mapping from parts to score files")
        run = {str(part): _text(path, where) for part, path in run.items()}
        for part in parts:
            if part not in run:
                raise SVError(
                    f"{where}: has no scores for part {part}; every run needs all parts"
                )
        for part in run:
            if part not in parts:
                raise SVError(
                    f"{where}: part {part} is unknown; parts has {', '.join(parts)}"
                )
        runs.append(run)
    description = _text(entry.get("description", name), where)
    return System(
        name, description, runs, _texts(entry, "system") if "system" in entry else []
    )


def _pair(entry: Mapping[str, Any], where: str, systems: Sequence[str]) -> Pair:
    system, against = (_text(entry[side], where) for side in ("system", "against"))
    for name in (system, against):
        if name not in systems:
            raise SVError(
                f"{where}: system {name} is unknown; systems has {', '.join(systems)}"
            )
    if system == against:
        raise SVError(f"{where}: compares {system} with itself; name two systems")
    return Pair(
        system, against, _text(entry.get("title", f"{system} against {against}"), where)
    )


def _entries(
    conf: Mapping[str, Any],
    key: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> Iterable[tuple[dict[str, Any], str]]:
    """Yield the entries of a list, and the name of each in messages."""
    entries = conf.get(key)
    if entries is None and key == "comparisons":
        return
    if not isinstance(entries, list) or (not entries and key != "comparisons"):
        raise SVError(
            f"{key} is not a list of entries; each needs {', '.join(required)}"
        )
    for number, entry in enumerate(entries, 1):
        where = f"entry {number} of {key}"
        yield _entry(entry, where, required, optional), where


def _entry(
    entry: Any, where: str, required: Sequence[str], optional: Sequence[str]
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise SVError(f"{where} is not a mapping; it needs {', '.join(required)}")
    for key in required:
        if key not in entry:
            raise SVError(f"{where} has no {key}; it needs {', '.join(required)}")
    for key in entry:
        if key not in (*required, *optional):
            raise SVError(
                f"{where} has unknown key {printable(str(key))}; use"
                f" {', '.join((*required, *optional))}"
            )
    return entry


def _text(value: Any, where: str) -> str:
    """Return a name or path; YAML parses a name such as ``1`` as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        kind = "empty" if value == "" else f"a {type(value).__name__}"
        raise SVError(f"{where}: a name or path is {kind}, not text; put it in quotes")
    if isinstance(value, int) and abs(value) > 10**18:
        raise SVError(f"{where}: a number has more than 18 digits; put it in quotes")
    text = str(value)
    if not text.isprintable():
        raise SVError(f"{where}: '{printable(text)}' has control characters")
    return text


def _texts(entry: Mapping[str, Any], key: str) -> list[str]:
    """Return one path or a list of paths as a list."""
    values = entry[key] if isinstance(entry[key], list) else [entry[key]]
    if not values:
        raise SVError(f"{entry['name']}: {key} is empty; give one or more paths")
    return [_text(value, f"{entry['name']}: {key}") for value in values]


def _refuse_repeats(key: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SVError(f"two {key} are called {name}; give each its own name")
        seen.add(name)
