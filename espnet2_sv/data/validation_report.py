"""Collect problems and warnings about data, to report all of them at once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_sv.errors import printable
from espnet2_sv.fileio import atomic_write

LISTED = 10  # messages per kind; the rest is counted
_LONGEST = 2000  # characters of a message, which may quote ids and paths
_NAMED = 5  # examples in a message


def name_first(names: Sequence[str]) -> str:
    """Return a few names and the number of the others: "a, b, c and 260 more"."""
    shown = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


@dataclass
class ValidationReport:
    """Problems, which are fatal, and warnings, which are not.

    Attributes:
        listed: Maximum messages per kind; further ones are only counted.
        file: Path of a file for all messages, see :meth:`save`.
    """

    listed: int = LISTED
    file: str | os.PathLike | None = None
    _problems: dict[str, list[str]] = field(default_factory=dict)
    _warnings: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _full: list[str] = field(default_factory=list)

    def problem(self, kind: str, message: str) -> None:
        """Add a problem; ``kind`` names the group whose messages are limited."""
        self._add(self._problems, kind, message)

    def warning(self, kind: str, message: str) -> None:
        """Add a warning."""
        self._add(self._warnings, kind, message)

    def summary(self, kind: str, message: str, details: Iterable[str]) -> None:
        """Add one warning about many things, which only the file lists."""
        listed = "" if self.file is None else f"; listed in {self.file}"
        self._add(self._warnings, kind, message + listed)
        if self.file is not None:
            self._full += [printable(detail, _LONGEST) for detail in details]

    @property
    def num_problems(self) -> int:
        """Number of problems, listed or not."""
        return sum(self._counts[kind] for kind in self._problems)

    def problems(self) -> Iterator[str]:
        """Yield one line per problem, and one per kind that exceeds ``listed``."""
        return self._lines(self._problems)

    def warnings(self) -> Iterator[str]:
        """Yield one line per warning, and one per kind that exceeds ``listed``."""
        return self._lines(self._warnings)

    def save(self) -> None:
        """Write all messages to ``file``, or remove it if there are none.

        Raises:
            SVError: The file cannot be written.
        """
        if self.file is None:
            return
        if not self._counts:
            Path(self.file).unlink(missing_ok=True)
            return
        with atomic_write(self.file) as f:
            f.writelines(f"{message}\n" for message in self._full)

    def _add(self, groups: dict[str, list[str]], kind: str, message: str) -> None:
        group = groups.setdefault(kind, [])
        self._counts[kind] = self._counts.get(kind, 0) + 1
        message = printable(message, _LONGEST)
        if len(group) < self.listed:
            group.append(message)
        if self.file is not None:
            self._full.append(message)

    def _lines(self, groups: dict[str, list[str]]) -> Iterator[str]:
        listed = "" if self.file is None else f", listed in {self.file}"
        for kind, group in groups.items():
            yield from group
            if (more := self._counts[kind] - len(group)) > 0:
                yield f"{kind}: {more:,} more{listed}"
