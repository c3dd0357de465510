"""The clips as recordings that everything reads: FLAC at one sampling rate.

The archive's mp3 streams do not say how long they are, and are slow to read in parts;
ESPnet's own commands take recordings at the rate that they find. So each is decoded and
resampled once.
"""

import io
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from espnet2_sv.data.corpora.fotaq.archive import Entry, QueenArchive, read_entry
from espnet2_sv.data.corpora.fotaq.clips import Clip
from espnet2_sv.data.job_split import in_processes
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

_CHUNK = 200  # clips that a process takes at a time
# how far what is decoded may fall behind the decoder's first estimate: for whole clips,
# 0.5 %
_TOLERANCE = 0.02
_TOLERATED_SAMPLES = 2 * 1152  # of two frames


class Recording(NamedTuple):
    """An utterance's audio: its file, and how many seconds it lasts."""

    path: str
    seconds: float


class _Task(NamedTuple):
    archive: str
    rate: int
    clips: list[tuple[str, Entry, str]]  # name in the archive, place, file to write


def extract_clips(
    archive: QueenArchive,
    clips: Sequence[Clip],
    outdir: str | os.PathLike,
    rate: int,
    nj: int = 1,
) -> dict[str, Recording]:
    """Write ``outdir/CHARACTER/UTTERANCE.flac`` of each clip, 16 bit, mono.

    A second call keeps what is there, unless it was made of another archive or at
    another rate.

    Args:
        archive: Holds the clips.
        clips: Which.
        outdir: The folder; this function's own.
        rate: Sampling rate in Hz.
        nj: Processes.

    Returns:
        The recording of each utterance.

    Raises:
        SVError: A clip, or a part of it, cannot be decoded.
    """
    outdir = Path(outdir)
    _clear_others(outdir, f"{archive.sha256()} {rate}\n")
    places = [
        (
            clip.entry,
            archive.entries[clip.entry],
            str(outdir / clip.character / f"{clip.utt}.flac"),
        )
        for clip in clips
    ]
    tasks = (
        _Task(str(archive.path), rate, places[i : i + _CHUNK])
        for i in range(0, len(places), _CHUNK)
    )
    seconds: list[float] = []
    for chunk in in_processes(_extract, tasks, nj):
        seconds += chunk
        if len(seconds) % 1000 == 0 or len(seconds) == len(places):
            logging.info(f"{outdir}: {len(seconds):,} of {len(places):,} clips")
    return {
        clip.utt: Recording(path, length)
        for clip, (_, _, path), length in zip(clips, places, seconds, strict=True)
    }


def join_short(
    recordings: Mapping[str, Recording], outdir: str | os.PathLike, shortest: float
) -> tuple[dict[str, Recording], dict[str, list[str]]]:
    """Join what is too short with what comes next and is too short as well.

    Args:
        recordings: Of one speaker, in the order in which they are to be joined.
        outdir: Where joined recordings go, if they are not there.
        shortest: Seconds that an utterance must last.

    Returns:
        The long recordings and the joined ones, ``FIRST-xN`` of N recordings from FIRST
        on; and the utterances of which each consists. Too short a rest is left out.
    """
    kept, members, group = {}, {}, []
    for utt, recording in recordings.items():
        if recording.seconds >= shortest:
            kept[utt], members[utt] = recording, [utt]
            continue
        group.append(utt)
        if sum(recordings[u].seconds for u in group) >= shortest:
            name = f"{group[0]}-x{len(group)}"
            kept[name] = _join(
                [recordings[u] for u in group], Path(outdir) / f"{name}.flac"
            )
            members[name] = group
            group = []
    return kept, members


def _clear_others(outdir: Path, source: str) -> None:
    """Remove what was made of another source."""
    note = outdir / "source"
    if outdir.exists() and (
        not note.exists() or note.read_text(encoding="utf-8") != source
    ):
        shutil.rmtree(outdir)
    with atomic_write(note) as f:
        f.write(source)


def _extract(task: _Task) -> list[float]:
    return [_length(clip) or _convert(task, *clip) for clip in task.clips]


def _length(clip: tuple[str, Entry, str]) -> float:
    """Seconds of a clip that has been written; 0 if it has not."""
    return soundfile.info(clip[2]).duration if os.path.exists(clip[2]) else 0.0


def _convert(task: _Task, name: str, place: Entry, path: str) -> float:
    try:
        with soundfile.SoundFile(io.BytesIO(read_entry(task.archive, place))) as clip:
            samples, expected, found = (
                clip.read(dtype="float32"),
                clip.frames,
                clip.samplerate,
            )
    except soundfile.SoundFileError as e:
        raise SVError(
            f"{task.archive}: clip {name} cannot be decoded; fetch the archive again"
        ) from e
    if len(samples) < expected * (1 - _TOLERANCE) - _TOLERATED_SAMPLES:
        raise SVError(
            f"{task.archive}: clip {name} is damaged, {len(samples) / found:.2f} of"
            f" about {expected / found:.2f} s can be decoded; fetch the archive again"
        )
    return _write(path, soxr.resample(samples, found, task.rate), task.rate)


def _join(parts: list[Recording], path: Path) -> Recording:
    if path.exists():
        return Recording(str(path), soundfile.info(path).duration)
    audio, rates = zip(*_read(parts), strict=True)
    return Recording(str(path), _write(path, np.concatenate(audio), rates[0]))


def _read(parts: list[Recording]) -> Iterator[tuple[np.ndarray, int]]:
    for part in parts:
        yield soundfile.read(part.path, dtype="float32")


def _write(path: str | os.PathLike, samples: np.ndarray, rate: int) -> float:
    """Write a file at once; its length in seconds."""
    try:
        with atomic_write(path, "wb") as f:
            soundfile.write(
                f, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16"
            )
    except (soundfile.SoundFileError, OSError) as e:
        raise SVError(f"{path}: cannot be written ({e}); is the disk full?") from e
    return len(samples) / rate
