"""Reading recordings ahead of the network that embeds them."""

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.batches import plan_batches
from espnet2_sv.errors import SVError

BATCHES_AHEAD = 3

Item = tuple[str, np.ndarray | SVError]


def read_ahead(
    batches: Iterable[list[tuple[str, str]]],
    read: Callable[[str], np.ndarray],
    pool: Executor,
) -> Iterator[list[Item]]:
    """Read batches of recordings in threads, a few batches ahead.

    Decoding and resampling release the interpreter lock, so threads suffice; unlike
    forked processes they are safe beside a GPU context.

    Args:
        batches: Lists of (utterance, audio), consumed lazily.
        read: Returns the waveform (S,) of an audio entry.
        pool: Threads that read.

    Yields:
        For each batch, pairs of utterance and waveform, or the error in its place.
    """
    pending: deque[list[tuple[str, Future[np.ndarray | SVError]]]] = deque()
    for batch in batches:
        pending.append(
            [(name, pool.submit(_attempt, read, audio)) for name, audio in batch]
        )
        if len(pending) > BATCHES_AHEAD:
            yield [(name, job.result()) for name, job in pending.popleft()]
    while pending:
        yield [(name, job.result()) for name, job in pending.popleft()]


def batches_by_length(
    utterances: Iterable[tuple[str, str]], batch_seconds: float, pool: Executor
) -> list[list[tuple[str, str]]]:
    """Group recordings of similar length, longest first.

    Args:
        utterances: Pairs of (utterance, audio).
        batch_seconds: Bound on the padded duration of a batch. A recording of unknown
            length (a pipe, a broken file) is a batch of its own.
        pool: Threads that read the lengths.
    """
    utterances = list(utterances)
    seconds = list(pool.map(_seconds, (audio for _, audio in utterances)))
    batches = plan_batches(seconds, batch_seconds)
    return [[utterances[i] for i in batch] for batch in batches]


def reader(
    sample_rate: int, allow_pipes: bool, channel: int | None = None
) -> Callable[[str], np.ndarray]:
    """Return a function that reads audio as a waveform (S,) at ``sample_rate`` Hz."""
    return functools.partial(
        read_audio, sample_rate=sample_rate, allow_pipes=allow_pipes, channel=channel
    )


def reading_pool(num_workers: int) -> ThreadPoolExecutor:
    """Return a pool of audio-reading threads, at least one."""
    return ThreadPoolExecutor(max(1, num_workers), thread_name_prefix="read")


def _attempt(read: Callable[[str], np.ndarray], audio: str) -> np.ndarray | SVError:
    try:
        return read(audio)
    except SVError as e:
        return e
    except Exception as e:  # decoders raise all kinds of errors
        return SVError(f"{audio}: cannot be decoded ({type(e).__name__}: {e})")


def _seconds(audio: str) -> float:
    if audio.rstrip().endswith("|"):
        return math.inf
    try:
        num_samples, rate, _ = audio_info(audio)
        return num_samples / rate
    except Exception:  # reading it reports what is wrong
        return math.inf
