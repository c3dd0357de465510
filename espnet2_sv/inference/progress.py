"""Telling how far a long job is: a bar on a terminal, a line a minute in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress_bar(total: int, initial: int, name: str) -> Iterator[Callable[[int], None]]:
    """Show progress until the block ends.

    Args:
        total: Units of the whole job.
        initial: Units done by an earlier run.
        name: What is being done.

    Yields:
        A function that is told how many more units are done.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, initial=initial, desc=name, unit="utt", dynamic_ncols=True) as bar:
            yield bar.update
        return
    done, told = initial, time.monotonic()

    def update(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            logging.info(f"{name}: {done} of {total}")

    yield update
