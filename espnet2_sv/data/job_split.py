"""Split work over the jobs of a cluster, and over processes."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from espnet2_sv.errors import SVError, require_integer
from espnet2_sv.textfile import parse_int

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def select_split[T](items: Sequence[T], split: str | None) -> Sequence[T]:
    """Return the i-th of n interleaved splits of the items.

    Args:
        items: All items.
        split: ``"i/n"`` with i from 1 to n; None selects all items.

    Raises:
        SVError: ``split`` has another form.
    """
    if split is None:
        return items
    try:
        index, count = map(parse_int, split.split("/"))
    except ValueError:
        index = count = 0
    if not 1 <= index <= count:
        raise SVError(f"shard {split!r} is not understood; write i/n, for example 3/8")
    return items[index - 1 :: count]


def end_with_parent() -> None:
    """Let the kernel kill this worker process when its parent is gone.

    Ctrl-C is left to the parent, which stops its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    with contextlib.suppress(AttributeError, OSError):  # other systems than Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and not parent.is_alive():
        os._exit(1)  # it was gone before


def in_processes[T, R](
    work: Callable[[T], R], items: Iterable[T], nj: int, alone_seconds: float = 0.0
) -> Iterator[R]:
    """Yield ``work(item)`` for each item in order, computed in ``nj`` processes.

    At most three items per process are pending, so ``items`` may be a generator of any
    length. ``work`` must be importable, items and results must be picklable.

    Args:
        work: Function of one item.
        items: Items, drawn from lazily.
        nj: Number of processes; 1 means this one.
        alone_seconds: For short work: do it in this process for so long before
            starting others, each of which takes a second of processor time to begin
            with, and start no more than two per processor.

    Raises:
        SVError: ``nj`` is below 1, ``work`` raises one, or a process was killed.
    """
    require_integer("nj", nj, 1)
    if nj == 1:
        yield from map(work, items)
        return
    items, started = iter(items), time.monotonic()
    while time.monotonic() - started < alone_seconds:
        for item in items:
            yield work(item)
            break
        else:
            return
    if alone_seconds:
        nj = min(nj, 2 * len(os.sched_getaffinity(0)))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(nj, spawn, initializer=end_with_parent) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 3 * nj:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as e:
            raise SVError(
                "a worker process was killed, perhaps out of memory; run again with a"
                " smaller nj"
            ) from e
        finally:
            for future in waiting:
                future.cancel()
