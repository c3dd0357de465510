"""Results of checks, and what a check gets to know."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RESULTS = PASS, FAIL, SKIP = "PASS", "FAIL", "SKIP"
HEADER = "| part | check | result | figures | seconds |\n|---|---|---|---|---:|"
GIBIBYTE = 2**30

Figures = dict[str, Any]
Check = Callable[[], Figures]


class Failed(Exception):
    """A check found a fault.

    Args:
        reason: What is wrong.
        figures: What was measured.
    """

    def __init__(self, reason: str, figures: Figures | None = None):
        super().__init__(reason)
        self.figures = figures or {}


class Skipped(Exception):
    """A check cannot be made on this machine; says why."""


@dataclasses.dataclass(frozen=True)
class Context:
    """What a part gets to know.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        workdir: Folder that all parts share; each name in it is made once.
        deadline: When the part is cut off, as of ``time.time()``.
    """

    device: str
    workdir: Path
    deadline: float

    @property
    def small(self) -> bool:
        """Whether sizes are tiny: on a CPU, the program is checked, not the device."""
        return self.device == "cpu"

    @property
    def ngpu(self) -> int:
        """The value of ``--ngpu``."""
        return int(self.device == "cuda")

    def seconds_left(self) -> float:
        """Seconds until the part is cut off."""
        return self.deadline - time.time()

    def folder(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return a folder in the working directory, made by the first that asks.

        Args:
            name: Its name.
            make: Called with a new folder to fill.
        """
        folder = self.workdir / name
        if not folder.exists():
            unfinished = self.workdir / f"{name}.{time.monotonic_ns()}"
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
        return folder


@dataclasses.dataclass
class Row:
    """The result of one check.

    Attributes:
        part: Name of the part.
        check: Name of the check within the part.
        result: PASS, FAIL or SKIP.
        reason: Why it is not PASS.
        figures: What was measured, by name.
        seconds: How long it took.
    """

    part: str
    check: str
    result: str
    reason: str = ""
    figures: Figures = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def markdown(self) -> str:
        """Return a row of the table."""
        # What is long, such as lists of places in the code, is for the JSON file only
        shown = {k: v for k, v in self.figures.items() if not isinstance(v, list)}
        figures = ", ".join(f"{name} {short(value)}" for name, value in shown.items())
        text = f"**{self.reason}**" if self.result == FAIL else self.reason
        cells = [self.part, self.check, self.result]
        cells += ["; ".join(filter(None, (text, figures))), f"{self.seconds:.1f}"]
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def short(value: Any) -> str:
    """Write a figure with four significant digits."""
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).split())


def timed_row(part: str, name: str, check: Check) -> tuple[Row, Exception | None]:
    """Make a check.

    Returns:
        Its row, and the error if there was one that the check did not foresee.
    """
    start = time.perf_counter()
    error = None
    try:
        row = Row(part, name, PASS, figures=check())
    except Skipped as e:
        row = Row(part, name, SKIP, str(e))
    except Failed as e:
        row = Row(part, name, FAIL, str(e), e.figures)
    except Exception as e:
        error = e
        row = Row(part, name, FAIL, f"{type(e).__name__}: {first_line(e)}")
    row.seconds = time.perf_counter() - start
    return row, error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), "")


def status_of(rows: Iterable[Row]) -> int:
    """Return the exit status: 1 if a check failed, or none was made."""
    results = {row.result for row in rows}
    return 0 if PASS in results and FAIL not in results else 1


def write_json(path: Path, about: dict[str, Any], rows: list[Row]) -> None:
    """Write results and what they were made with."""
    found = {**about, "status": status_of(rows)}
    found["checks"] = [dataclasses.asdict(row) for row in rows]
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
