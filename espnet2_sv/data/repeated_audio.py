"""Find recordings that have equal samples under different names.

"Equal" is what a model sees: the mean of all channels at the sampling rate of training,
in 16 bits. So a wav and its flac are equal, as are a mono file and one with the same
samples in both channels; a lossy copy, another loudness or a shifted start is not.
Only recordings of one length are looked at, and only those that agree in a short
section are decoded as a whole.
"""

import hashlib
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.audio import length_at, read_section
from espnet2_sv.data.check_audio import ALONE_SECONDS
from espnet2_sv.data.job_split import in_processes
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.segments import Piece, Utterances
from espnet2_sv.data.sources import ARK_OFFSET, open_audio
from espnet2_sv.errors import SVError
from espnet2_sv.textfile import parse_float

_SECTION = 0.1  # seconds from the middle that are compared first
_CHUNK = 500  # recordings per task of a worker process
_DECIMALS = 6  # of a utt2dur that gives the length to the sample, as sv_format_wav's


class Recording(NamedTuple):
    """An utterance and its length in samples at the sampling rate of training."""

    piece: Piece
    length: int


class _Task(NamedTuple):
    pieces: list[Piece]
    sample_rate: int
    allow_pipes: bool
    whole: bool


def read_recordings(
    folder: str | os.PathLike,
    sample_rate: int,
    allow_pipes: bool = False,
    nj: int = 1,
    seconds: Mapping[str, float] | None = None,
) -> list[Recording]:
    """Return the utterances of a data directory with their lengths.

    Args:
        folder: Data directory with ``wav.scp`` and, optionally, ``segments``.
        sample_rate: Sampling rate in Hz at which lengths are counted.
        allow_pipes: Whether commands in ``wav.scp`` may be run.
        nj: Number of processes that read headers.
        seconds: Durations by recording, if they are known. Without, they are read from
            the ``utt2dur`` of :func:`~espnet2_sv.data.formatting.format_data_dir`, if
            there is one, and else from the headers; what cannot be opened is left out.

    Raises:
        SVError: A table is missing or malformed.
    """
    utts = Utterances(folder)
    pieces = utts.usable()  # check_data_dir reports the others
    if utts.segments is None:
        known = seconds or _durations(Path(folder))
        if known:
            lengths = [round(known.get(p.utt, 0) * sample_rate) for p in pieces]
        else:
            task = _Task(pieces, sample_rate, allow_pipes, whole=False)
            lengths = _in_chunks(_lengths, task, nj)
    else:
        # a segment may end with its recording, after a little less than it says
        lengths = [round((min(p.end, 1e9) - p.start) * sample_rate) for p in pieces]
    return [Recording(*both) for both in zip(pieces, lengths, strict=True) if both[1]]


def equal_recordings(
    recordings: Sequence[Recording],
    sample_rate: int,
    allow_pipes: bool = False,
    nj: int = 1,
) -> list[list[int]]:
    """Group recordings with equal samples.

    Args:
        recordings: The recordings; what cannot be decoded equals nothing.
        sample_rate: Sampling rate in Hz at which samples are compared.
        allow_pipes: Whether commands may be run.
        nj: Number of processes that decode.

    Returns:
        Indices of each group of two or more, in order.
    """
    groups = _groups(range(len(recordings)), [r.length for r in recordings])
    for whole in (False, True):
        rest = [i for group in groups for i in group]
        pieces = [recordings[i].piece for i in rest]
        # one file under two names is decoded once
        places = [_place(piece) for piece in pieces]
        first = dict(zip(places, pieces, strict=True))
        task = _Task(list(first.values()), sample_rate, allow_pipes, whole)
        digests = dict(zip(first, _in_chunks(_digests, task, nj), strict=True))
        found: list[Hashable] = [digests[place] for place in places]
        keys = [
            (recordings[i].length, i if digest is None else digest)
            for i, digest in zip(rest, found, strict=True)
        ]
        groups = _groups(rest, keys)
    return sorted(groups)


def _groups(items: Sequence[int], keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the items of equal keys, where there are several."""
    found: dict[Hashable, list[int]] = {}
    for item, key in zip(items, keys, strict=True):
        found.setdefault(key, []).append(item)
    return [group for group in found.values() if len(group) > 1]


def _place(piece: Piece) -> tuple[str, float, float]:
    is_file = not piece.spec.endswith("|") and not ARK_OFFSET.fullmatch(piece.spec)
    spec = os.path.realpath(piece.spec) if is_file else piece.spec
    return spec, piece.start, piece.end


def _durations(folder: Path) -> dict[str, float] | None:
    """Read a utt2dur, if there is one that is exact to the sample."""
    path = folder / "utt2dur"
    if not path.exists():
        return None
    try:
        table = KaldiTable.read(path)
        items = dict(table.items())
        exact = all(len(x.partition(".")[2]) >= _DECIMALS for x in items.values())
        return {u: parse_float(x) for u, x in items.items()} if exact else None
    except (SVError, ValueError):
        return None


def _in_chunks(work, task: _Task, nj: int) -> list:
    """Do a task in processes; return its results in order."""
    chunks = (
        task._replace(pieces=task.pieces[i : i + _CHUNK])
        for i in range(0, len(task.pieces), _CHUNK)
    )
    return [x for part in in_processes(work, chunks, nj, ALONE_SECONDS) for x in part]


def _lengths(task: _Task) -> list[int]:
    """Return lengths in samples; 0 for what cannot be opened."""
    lengths = []
    for piece in task.pieces:
        try:
            with open_audio(piece.spec, task.allow_pipes) as source:
                lengths.append(length_at(source, task.sample_rate))
        except SVError:
            lengths.append(0)
    return lengths


def _digests(task: _Task) -> list[bytes | None]:
    """Return a hash of the samples of each recording, or of its middle."""
    return [_digest(piece, task) for piece in task.pieces]


def _digest(piece: Piece, task: _Task) -> bytes | None:
    try:
        with open_audio(piece.spec, task.allow_pipes) as source:
            total = length_at(source, task.sample_rate)
            start = round(piece.start * task.sample_rate)
            stop = round(min(piece.end * task.sample_rate, total))
            if not task.whole:
                length = round(_SECTION * task.sample_rate)
                start = max(start, (start + stop - length) // 2)
                stop = min(stop, start + length)
            speech = read_section(source, task.sample_rate, start, stop)
    except SVError:
        return None
    samples = np.clip(np.rint(speech * 32768), -32768, 32767).astype("<i2")
    return hashlib.blake2b(samples.tobytes(), digest_size=16).digest()
