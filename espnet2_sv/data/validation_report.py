"""Collecting what is wrong with data, so that all of it can be told at once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

_LISTED = 50  # of each kind; the rest is counted


@dataclass
class ValidationReport:
    """Problems, which stop the work, and warnings, which do not.

    Attributes:
        listed: How many of one kind are told in full.
    """

    listed: int = _LISTED
    _problems: dict[str, list[str]] = field(default_factory=dict)
    _warnings: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def problem(self, kind: str, message: str) -> None:
        """Note a problem; ``kind`` names the group that is cut and counted together."""
        self._add(self._problems, kind, message)

    def warning(self, kind: str, message: str) -> None:
        """Note something that deserves a look."""
        self._add(self._warnings, kind, message)

    @property
    def num_problems(self) -> int:
        """All problems, listed or not."""
        return sum(self._counts[kind] for kind in self._problems)

    def problems(self) -> Iterator[str]:
        """One line per problem, then one per kind that has more."""
        return self._lines(self._problems)

    def warnings(self) -> Iterator[str]:
        """One line per warning, then one per kind that has more."""
        return self._lines(self._warnings)

    def _add(self, groups: dict[str, list[str]], kind: str, message: str) -> None:
        group = groups.setdefault(kind, [])
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if len(group) < self.listed:
            group.append(message)

    def _lines(self, groups: dict[str, list[str]]) -> Iterator[str]:
        for kind, group in groups.items():
            yield from group
            if (more := self._counts[kind] - len(group)) > 0:
                yield f"{kind}: {more} more"
