"""Conversion of the clips to FLAC at one sampling rate.

The archive's mp3 streams do not declare their length and are slow to read in parts, and
ESPnet's own commands do not resample. So each clip is decoded and resampled once.
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

from espnet2_sv.data.job_split import in_processes
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

from .archive import Entry, QueenArchive, read_entry
from .clips import Clip

_CHUNK = 200  # clips per task of a worker process
# how much shorter than the decoder's first estimate a clip may be; intact ones are up
# to 0.5 % shorter
_TOLERANCE = 0.02
_TOLERATED_SAMPLES = 2 * 1152  # two mp3 frames


class Recording(NamedTuple):
    """Audio of an utterance: path of the file, and duration in seconds."""

    path: str
    seconds: float


class _Task(NamedTuple):
    archive: str
    rate: int
    clips: list[tuple[str, Entry, str]]  # name in the archive, position, output path


def extract_clips(
    archive: QueenArchive,
    clips: Sequence[Clip],
    outdir: str | os.PathLike,
    rate: int,
    nj: int = 1,
) -> dict[str, Recording]:
    """Write each clip to ``outdir/CHARACTER/UTTERANCE.flac``, 16 bit, mono.

    A second call keeps existing files, unless they come from another archive or have
    another sampling rate.

    Args:
        archive: Archive that holds the clips.
        clips: Clips to extract.
        outdir: Output folder, used by nothing else.
        rate: Sampling rate in Hz.
        nj: Number of processes.

    Returns:
        Recording of each utterance.

    Raises:
        SVError: A clip cannot be decoded, or only in part.
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
    """Concatenate short recordings until they are long enough.

    Args:
        recordings: Recordings of one speaker, in the order in which to join them.
        outdir: Folder for joined recordings; existing ones are kept.
        shortest: Minimum duration of an utterance in seconds.

    Returns:
        Recordings that are long enough, and joined ones, which are named ``FIRST-xN``
        after the first of N utterances; and the utterances in each of them. Short ones
        that remain at the end are left out.
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
    """Remove files that were made from another source."""
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
    """Duration in seconds of a clip that has been written; 0 if it has not."""
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
            f"{task.archive}: clip {name} is damaged, only"
            f" {len(samples) / found:.2f} of about {expected / found:.2f} s can be"
            " decoded; fetch the archive again"
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
    """Write a file atomically and return its duration in seconds."""
    try:
        with atomic_write(path, "wb") as f:
            soundfile.write(
                f, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16"
            )
    except (soundfile.SoundFileError, OSError) as e:
        raise SVError(f"{path}: cannot be written ({e}); is the disk full?") from e
    return len(samples) / rate
