"""Dividing work among the jobs of a cluster."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from espnet2_sv.errors import SVError


def select_split[T](items: Sequence[T], share: str | None) -> Sequence[T]:
    """Return every n-th item.

    Args:
        items: All of them.
        share: ``"i/n"`` with i from 1 to n; None for all.

    Raises:
        SVError: ``share`` is something else.
    """
    if share is None:
        return items
    index, _, count = share.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise SVError(f"shard {share!r} is not understood; write i/n, for example 3/8")
    return items[int(index) - 1 :: int(count)]


def in_processes[T, R](
    work: Callable[[T], R], items: Iterable[T], nj: int
) -> Iterator[R]:
    """Yield ``work(item)`` of each item in order, from ``nj`` processes (1: this one).

    At most three items per process are under way, so ``items`` may be a generator of
    any length. ``work`` must be importable, and items and results picklable.

    Raises:
        SVError: What ``work`` raises; or a process was killed.
    """
    if nj < 1:
        raise SVError(f"nj is {nj}; choose 1 or more")
    if nj == 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(nj, multiprocessing.get_context("spawn")) as pool:
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
                "a worker process was killed, perhaps for want of memory; call again"
                " with a smaller nj"
            ) from e
        finally:
            for future in waiting:
                future.cancel()
