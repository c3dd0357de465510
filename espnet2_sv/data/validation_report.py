"""Collect problems and warnings about data, to report all of them at once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from espnet2_sv.errors import printable

_LISTED = 50  # messages per kind; the rest is counted
_LONGEST = 2000  # characters of a message, which may quote ids and paths


@dataclass
class ValidationReport:
    """Problems, which are fatal, and warnings, which are not.

    Attributes:
        listed: Maximum messages per kind; further ones are only counted.
    """

    listed: int = _LISTED
    _problems: dict[str, list[str]] = field(default_factory=dict)
    _warnings: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def problem(self, kind: str, message: str) -> None:
        """Add a problem; ``kind`` names the group whose messages are limited."""
        self._add(self._problems, kind, message)

    def warning(self, kind: str, message: str) -> None:
        """Add a warning."""
        self._add(self._warnings, kind, message)

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

    def _add(self, groups: dict[str, list[str]], kind: str, message: str) -> None:
        group = groups.setdefault(kind, [])
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if len(group) < self.listed:
            group.append(printable(message, _LONGEST))

    def _lines(self, groups: dict[str, list[str]]) -> Iterator[str]:
        for kind, group in groups.items():
            yield from group
            if (more := self._counts[kind] - len(group)) > 0:
                yield f"{kind}: {more} more"
