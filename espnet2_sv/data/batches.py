"""Batches of similar length, and the lengths they are planned from."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.audio import length_at
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError

_THREADS = 8  # reading headers is bound by the disk, not by the CPU


def plan_batches(
    lengths: Sequence[float] | np.ndarray,
    max_padded_length: float | None = None,
    max_rows: int | None = None,
    equal_lengths_only: bool = False,
    alone: Sequence[bool] | np.ndarray | None = None,
) -> list[list[int]]:
    """Group items of similar length into batches, longest first.

    Args:
        lengths: Lengths (N,) of the items in any unit; infinity where a length is
            unknown. Such an item comes first, in a batch of its own.
        max_padded_length: Upper bound on rows times longest, in the unit of
            ``lengths``; an item that exceeds it by itself gets its own batch.
        max_rows: Upper bound on items per batch, at least 1.
        equal_lengths_only: Batch only items of exactly the same length, so that
            nothing is padded.
        alone: Items (N,) that must not share a batch; by default none.

    Returns:
        Indices into ``lengths``, one list per batch, each index exactly once. Items of
        the same length keep their order, except that those of ``alone`` come last.
    """
    lengths = np.asarray(lengths).tolist()
    alone = [False] * len(lengths) if alone is None else np.asarray(alone).tolist()
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], alone[i])):
        batch = batches[-1] if batches else []
        longest = lengths[batch[0]] if batch else math.inf
        if (
            not math.isinf(longest)
            and not alone[i]
            and not alone[batch[0]]
            and (not equal_lengths_only or lengths[i] == longest)
            and (max_rows is None or len(batch) < max_rows)
            and (
                max_padded_length is None
                or (len(batch) + 1) * longest <= max_padded_length
            )
        ):
            batch.append(i)
        else:
            batches.append([i])
    return batches


class Lengths(NamedTuple):
    """Lengths of N recordings.

    Attributes:
        samples: Samples, int64 (N,).
        exact: Whether that is what decoding gives (N,), rather than an estimate of the
            container (m4a, mp3).
    """

    samples: np.ndarray
    exact: np.ndarray


def measure(wavs: KaldiTable, entries: np.ndarray, sample_rate: int) -> Lengths:
    """Read the lengths of recordings from their headers.

    Args:
        wavs: Audio of each utterance.
        entries: Entries of ``wavs`` to measure (N,).
        sample_rate: Sampling rate in Hz at which samples are counted.

    Returns:
        Lengths of the N entries.

    Raises:
        SVError: A header that cannot be read; names the utterance.
    """

    def header(entry: int) -> tuple[int, bool]:
        try:
            with open_audio(wavs.value(entry)) as source:
                return length_at(source, sample_rate), source.exact
        except SVError as e:
            raise SVError(f"utterance {wavs.key(entry)}: {e}") from e

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(header, entries))
    return Lengths(
        np.array([samples for samples, _ in found], np.int64),
        np.array([exact for _, exact in found], bool),
    )
