"""Array work in chunks on several threads; NumPy releases the GIL in long calls."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor


def num_threads() -> int:
    """``OMP_NUM_THREADS`` if set, else the CPU cores available to this process."""
    cores = os.environ.get("OMP_NUM_THREADS", "")
    return (
        int(cores)
        if cores.isdigit() and int(cores) > 0
        else len(os.sched_getaffinity(0))
    )


def chunks(length: int, size: int) -> Iterator[slice]:
    """Split ``range(length)`` into slices of at most ``size``."""
    return (slice(i, min(i + size, length)) for i in range(0, length, size))


def for_each_chunk(work: Callable[[slice], None], length: int, size: int) -> None:
    """Call ``work`` on each of :func:`chunks`, on :func:`num_threads` threads."""
    with ThreadPoolExecutor(num_threads()) as pool:
        for _ in pool.map(work, chunks(length, size)):
            pass  # iterating re-raises a worker's error
