"""Several batches at once on the CPU, each on a core of its own.

An operator on a few seconds of speech is too small to be shared by several cores: they
    wait for
each other most of the time, and all the more so if other programs want them, too.
"""

import copy
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import torch


def clone_sharing_weights[T](original: T, modules: Iterable[torch.nn.Module]) -> T:
    """Copy an object with the networks inside, except for their weights, which are shared.

    Two replicas can work at the same time: hooks and whatever else a module keeps are
        each one's own.

    Args:
        original: The object.
        modules: The networks inside, those outside of the tree of another included.
    """
    tensors = chain.from_iterable(chain(m.parameters(), m.buffers()) for m in modules)
    return copy.deepcopy(original, {id(tensor): tensor for tensor in tensors})


def parallel_map[T, R](
    members: Sequence[T], work: Callable[[T, Any], R], pieces: Sequence[Any]
) -> Iterator[R]:
    """Let each member do the next piece, on one core; yield the results in the pieces' order.

    Args:
        members: Do one piece at a time each.
        work: Called with a member and a piece.
        pieces: What is to be done.
    """
    cores = torch.get_num_threads()
    free: queue.SimpleQueue[T] = queue.SimpleQueue()
    for member in members:
        free.put(member)

    def do(piece: Any) -> R:
        member = free.get()
        try:
            return work(member, piece)
        finally:
            free.put(member)

    # torch counts threads for each thread, and starts new ones with the number that was
    # last set
    with ThreadPoolExecutor(
        len(members), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            yield from pool.map(do, pieces)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(cores)
