"""Looking at recordings: are they there, whole, finite, and not silent?"""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from espnet2_sv.data.audio import read_section
from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError

LEVELS = ("none", "header", "full")
_CHUNK = 500  # utterances a process takes at a time
_BLOCK_SECONDS = 60  # decoded at a time
_SILENCE = 0.5 / 32768  # what 16 bits round to zero


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
    wavs: KaldiTable,
    level: str,
    allow_pipes: bool,
    nj: int,
    sample_rate: int,
    findings: ValidationReport,
    shard: str | None = None,
) -> dict[str, float]:
    """Check every recording.

    Args:
        wavs: Audio per utterance.
        level: ``"header"`` opens each file; ``"full"`` decodes it all.
        allow_pipes: Whether commands may be run (with both levels).
        nj: Processes.
        sample_rate: Rate in Hz that the recordings are meant to have.
        findings: Where problems and warnings go.
        shard: ``"i/n"`` checks the i-th of n shares only.

    Returns:
        Seconds of each good recording.
    """
    durations = {}
    starts = select_split(range(0, len(wavs), _CHUNK), shard)
    chunks = (_Chunk(_entries(wavs, start), level, allow_pipes) for start in starts)
    for reports in in_processes(_check_chunk, chunks, nj):
        for report in reports:
            if report.problem:
                findings.problem(
                    "audio", f"{wavs.name}: utterance {report.utt}: {report.problem}"
                )
                continue
            durations[report.utt] = report.seconds
            warn(report, wavs.name, sample_rate, findings)
    return durations


def require_whole(spec: str) -> None:
    """Raise SVError if ``spec`` is a file that ends too early."""
    if Path(spec).is_file() and (missing := missing_bytes(spec)):
        raise SVError(
            f"{spec}: is truncated, {missing} bytes are missing; replace the file"
        )


def is_silent(samples: np.ndarray) -> bool:
    """Whether all samples (S,) would be zero in 16 bits."""
    return float(np.abs(samples).max(initial=0.0)) < _SILENCE


def warn(
    report: AudioReport, name: str, sample_rate: int, findings: ValidationReport
) -> None:
    """Note what of a good recording deserves a look.

    Args:
        report: What is known of it.
        name: Of its table, for messages.
        sample_rate: Hz that it is meant to have.
        findings: Where warnings go.
    """
    start = f"{name}: utterance {report.utt}: "
    if report.silent:
        findings.warning("silent", start + "is silent, all samples are zero")
    if report.rate != sample_rate:
        lost = (
            f", nothing above {report.rate // 2} Hz"
            if report.rate < sample_rate
            else ""
        )
        findings.warning(
            "sampling rate",
            f"{start}is at {report.rate} Hz and will be converted to {sample_rate}"
            f" Hz{lost}",
        )
    if report.channels > 1:
        findings.warning(
            "channels",
            f"{start}has {report.channels} channels; their mean will be used",
        )


def _entries(wavs: KaldiTable, start: int) -> list[tuple[str, str]]:
    stop = min(start + _CHUNK, len(wavs))
    return [(wavs.key(i), wavs.value(i)) for i in range(start, stop)]


def _check_chunk(chunk: _Chunk) -> list[AudioReport]:
    return [
        _check(utt, spec, chunk.level, chunk.allow_pipes) for utt, spec in chunk.entries
    ]


def _check(utt: str, spec: str, level: str, allow_pipes: bool) -> AudioReport:
    try:
        with open_audio(spec, allow_pipes) as source:
            if source.frames < 1:
                return AudioReport(
                    utt, f"{spec}: holds no samples; replace or remove it"
                )
            require_whole(spec)
            silent = level == "full" and _decodes_to_silence(source)
            seconds = source.frames / source.rate
            return AudioReport(utt, "", seconds, source.rate, source.channels, silent)
    except SVError as e:
        return AudioReport(utt, str(e))


def _decodes_to_silence(source: AudioSource) -> bool:
    """Decode it all, in blocks. Raises SVError at what cannot be used."""
    silent = True
    start, step = 0, _BLOCK_SECONDS * source.rate
    while start < source.frames:
        # no short last block: where a container declares too much, it could hold
        # nothing
        stop = source.frames if source.frames - start < 2 * step else start + step
        silent = is_silent(read_section(source, source.rate, start, stop)) and silent
        start = stop
    return silent


# sizes that programs write into a wav header when they do not know the length yet
_STREAMED = 0x7FFF0000
_MAX_BOXES = 1000  # of an mp4; whole files have a handful


def missing_bytes(path: str) -> int:
    """Bytes that a wav or mp4 (m4a) file's structure promises and the file does not hold.

    Decoders read such files without complaint, as shorter ones. 0 for other kinds of
    files.
    """
    with open(path, "rb") as f:
        size = f.seek(0, 2)
        f.seek(0)
        head = f.read(12)
        if head[:4] == b"RIFF":
            return _missing_of_wav(f, size)
        return _missing_of_mp4(f, size) if head[4:8] == b"ftyp" else 0


def _missing_of_wav(f: BinaryIO, size: int) -> int:
    position = 12  # after RIFF, size, WAVE
    while position + 8 <= size:
        f.seek(position)
        name, length = f.read(4), int.from_bytes(f.read(4), "little")
        position += 8
        if name == b"data":
            return max(position + length - size, 0) if length < _STREAMED else 0
        position += length + length % 2
    return 0


def _missing_of_mp4(f: BinaryIO, size: int) -> int:
    """Go from box to box; each begins with its length and four letters."""
    position = 0
    for _ in range(_MAX_BOXES):
        if position >= size:
            break
        f.seek(position)
        length = int.from_bytes(f.read(4), "big")
        if length == 1:  # the length follows, in eight bytes
            f.seek(4, 1)
            length = int.from_bytes(f.read(8), "big")
        if length < 8:  # 0: to the end of the file
            return 0
        position += length
    return max(position - size, 0)
