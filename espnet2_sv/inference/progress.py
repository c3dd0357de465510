"""How far a job has come: a bar on a terminal, otherwise a line per minute."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress_bar(
    total: float, initial: float, name: str, unit: str = "utt"
) -> Iterator[Callable[[float], object]]:
    """Show progress until the block ends: a bar on a terminal, else a line per minute.

    Args:
        total: Units of the whole job.
        initial: Units done by an earlier run.
        name: What is being done.
        unit: What the bar calls a unit.

    Yields:
        A function that is told how many more units are done.
    """
    if sys.stderr.isatty():
        with tqdm(
            total=round(total),
            initial=round(initial),
            desc=name,
            unit=unit,
            dynamic_ncols=True,
        ) as bar:
            yield bar.update
        return
    done, told = initial, time.monotonic()

    def update(count: float) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            logging.info(f"{name}: {round(done)} of {round(total)}")

    yield update
