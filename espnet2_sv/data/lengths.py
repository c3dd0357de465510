"""How long utterances are, and batches of similar length."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.audio import length_at
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError

_THREADS = 8  # opening files waits for the disk; headers cost no computation


class Lengths(NamedTuple):
    """Samples per utterance, int64 (N,), and whether that is exact rather than estimated (N,)."""

    samples: np.ndarray
    exact: np.ndarray

    def clipped(self, most: int) -> "Lengths":
        """The same where only the first ``most`` samples are read."""
        return Lengths(np.minimum(self.samples, most), self.exact)


def measure(
    wavs: KaldiTable,
    entries: np.ndarray,
    sample_rate: int,
    utt2dur: KaldiTable | None = None,
    strict: bool = True,
    allow_pipes: bool = False,
) -> Lengths:
    """Lengths at ``sample_rate`` Hz of the given entries of ``wavs``.

    Args:
        wavs: Audio per utterance.
        entries: Which, (N,).
        sample_rate: Hz.
        utt2dur: Seconds per utterance; headers are read for those that it does not
            hold.
        strict: Raise SVError at an unreadable header; otherwise its length is 0,
            inexact.
        allow_pipes: Whether commands count as readable; they are not run here, length
            0, inexact.
    """
    samples = np.zeros(len(entries), np.int64)
    exact = np.zeros(len(entries), bool)
    todo = np.arange(len(entries))
    if utt2dur is not None and len(entries):
        places = utt2dur.find(wavs.keys()[entries])
        known = np.flatnonzero(places >= 0)
        samples[known] = [_seconds(utt2dur, p) * sample_rate for p in places[known]]
        todo = np.flatnonzero(places < 0)

    def header(i: int) -> tuple[int, bool]:
        spec = wavs.value(entries[i])
        if spec.endswith("|") and allow_pipes:
            return 0, False
        try:
            with open_audio(spec) as source:
                return length_at(source, sample_rate), source.exact
        except SVError as e:
            if strict:
                raise SVError(f"utterance {wavs.key(entries[i])}: {e}") from e
            return 0, False

    with ThreadPoolExecutor(_THREADS) as pool:
        for i, (length, sure) in zip(todo, pool.map(header, todo), strict=True):
            samples[i], exact[i] = length, sure
    return Lengths(samples, exact)


def bucket(
    lengths: Lengths,
    batch_size: int,
    most_samples: int | None = None,
    equal_only: bool = False,
) -> list[np.ndarray]:
    """Batches of similar length, longest first.

    Args:
        lengths: Lengths of N utterances.
        batch_size: Most utterances per batch; one of unknown length (0) comes alone.
        most_samples: Most samples per batch, padding included; one utterance is always
            allowed.
        equal_only: Batch only exactly equal lengths; inexact ones come alone.

    Returns:
        Indices into ``lengths``, one int64 array per batch; every utterance is in one
        of them.
    """
    order = np.lexsort((~lengths.exact, -lengths.samples))
    samples, exact = lengths.samples[order], lengths.exact[order]
    # an utterance may join the one before it in a batch of equal lengths
    joins = (samples[1:] == samples[:-1]) & exact[1:] & exact[:-1]
    breaks = np.append(np.flatnonzero(~joins) + 1, len(order))
    known = np.count_nonzero(samples)
    batches, start = [], 0
    while start < len(order):
        size, end = (batch_size, known) if start < known else (1, len(order))
        if start < known and most_samples is not None:
            size = min(size, max(1, most_samples // int(samples[start])))
        stop = min(start + size, end)
        if equal_only:
            stop = min(stop, int(breaks[np.searchsorted(breaks, start, side="right")]))
        batches.append(order[start:stop])
        start = stop
    return batches


def _seconds(utt2dur: KaldiTable, entry: int) -> float:
    try:
        return float(utt2dur.value(entry))
    except ValueError:
        raise SVError(
            f"{utt2dur.name}: utterance {utt2dur.key(entry)} has duration "
            f"{utt2dur.value(entry)}, which is not a number of seconds"
        ) from None
