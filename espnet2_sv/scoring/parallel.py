"""Array work in chunks on several threads; NumPy releases the GIL in long calls."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def _num_threads() -> int:
    """``OMP_NUM_THREADS`` if set, else the CPU cores available to this process."""
    cores = os.environ.get("OMP_NUM_THREADS", "")
    return (
        int(cores)
        if cores.isdigit() and int(cores) > 0
        else len(os.sched_getaffinity(0))
    )


def for_each_chunk(work: Callable[[slice], None], length: int, size: int) -> None:
    """Call ``work`` on slices of at most ``size`` that cover ``range(length)``.

    They run on ``OMP_NUM_THREADS`` threads, by default one per available CPU core.
    """
    chunks = (slice(i, min(i + size, length)) for i in range(0, length, size))
    with ThreadPoolExecutor(_num_threads()) as pool:
        for _ in pool.map(work, chunks):
            pass  # iterating re-raises a worker's error
