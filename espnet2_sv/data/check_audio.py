"""Looking at recordings: are they there, whole, finite, and not silent?"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.findings import Findings
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.table import KaldiTable
from espnet2_sv.data.workers import in_processes
from espnet2_sv.errors import SVError

LEVELS = ("none", "header", "full")
_CHUNK = 500  # utterances a process takes at a time
_BLOCK_SECONDS = 60  # decoded at a time
# sizes that programs write into a wav header when they do not know the length yet
_STREAMED = 0x7FFF0000


class AudioReport(NamedTuple):
    """What was found out about one recording; ``problem`` is empty where it is good."""

    utt: str
    problem: str = ""
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    silent: bool = False


class _Chunk(NamedTuple):
    entries: list[tuple[str, str]]
    level: str
    allow_pipes: bool


def check_audio(
    wavs: KaldiTable, level: str, allow_pipes: bool, nj: int, sample_rate: int, findings: Findings
) -> dict[str, float]:
    """Check every recording.

    Args:
        wavs: Audio per utterance.
        level: ``"header"`` opens each file; ``"full"`` decodes it all.
        allow_pipes: Whether commands may be run (with both levels).
        nj: Processes.
        sample_rate: Rate in Hz that the recordings are meant to have.
        findings: Where problems and warnings go.

    Returns:
        Seconds of each good recording.
    """
    durations = {}
    chunks = (_Chunk(part, level, allow_pipes) for part in _parts(wavs))
    for reports in in_processes(_check_chunk, chunks, nj):
        for report in reports:
            if report.problem:
                findings.problem("audio", f"{wavs.name}: utterance {report.utt}: {report.problem}")
                continue
            durations[report.utt] = report.seconds
            _warn(report, wavs.name, sample_rate, findings)
    return durations


def missing_wav_bytes(path: str) -> int:
    """Bytes of sample data that a wav file's header promises and the file does not hold.

    libsndfile reads such a file without complaint, as a shorter one.
    """
    with open(path, "rb") as f:
        size = f.seek(0, 2)
        f.seek(0)
        if f.read(4) != b"RIFF":
            return 0
        position = 12  # after RIFF, size, WAVE
        while position + 8 <= size:
            f.seek(position)
            name, length = f.read(4), int.from_bytes(f.read(4), "little")
            position += 8
            if name == b"data":
                return max(position + length - size, 0) if length < _STREAMED else 0
            position += length + length % 2
    return 0


def _parts(wavs: KaldiTable) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(wavs), _CHUNK):
        stop = min(start + _CHUNK, len(wavs))
        yield [(wavs.key(i), wavs.value(i)) for i in range(start, stop)]


def _check_chunk(chunk: _Chunk) -> list[AudioReport]:
    return [_check(utt, spec, chunk.level, chunk.allow_pipes) for utt, spec in chunk.entries]


def _check(utt: str, spec: str, level: str, allow_pipes: bool) -> AudioReport:
    try:
        with open_audio(spec, allow_pipes) as source:
            if source.frames < 1:
                return AudioReport(utt, f"{spec}: holds no samples; replace or remove it")
            if Path(spec).is_file() and (missing := missing_wav_bytes(spec)):
                return AudioReport(
                    utt, f"{spec}: is truncated, {missing} bytes are missing; replace the file"
                )
            silent = level == "full" and _is_silent(source)
            seconds = source.frames / source.rate
            return AudioReport(utt, "", seconds, source.rate, source.channels, silent)
    except SVError as e:
        return AudioReport(utt, str(e))


def _is_silent(source) -> bool:
    """Decode it all; whether every sample is zero. Raises SVError at what cannot be used."""
    silent = True
    step = _BLOCK_SECONDS * source.rate
    for start in range(0, source.frames, step):
        stop = min(start + step, source.frames)
        samples = source.read(start, stop)
        if source.exact and len(samples) < stop - start:
            raise SVError(
                f"{source.spec}: is truncated, {source.frames - start - len(samples)} samples of "
                f"{source.frames} are missing; replace the file"
            )
        if not np.isfinite(samples).all():
            raise SVError(f"{source.spec}: has NaN or infinite samples; replace or remove it")
        silent = silent and not samples.any()
    return silent


def _warn(report: AudioReport, name: str, sample_rate: int, findings: Findings) -> None:
    start = f"{name}: utterance {report.utt}: "
    if report.silent:
        findings.warning("silent", start + "is silent, all samples are zero")
    if report.rate != sample_rate:
        lost = f", nothing above {report.rate // 2} Hz" if report.rate < sample_rate else ""
        findings.warning(
            "sampling rate",
            f"{start}is at {report.rate} Hz and will be converted to {sample_rate} Hz{lost}",
        )
    if report.channels > 1:
        findings.warning(
            "channels", f"{start}has {report.channels} channels; their mean will be used"
        )
