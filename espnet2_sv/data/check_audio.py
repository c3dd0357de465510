"""Check recordings: readable, complete, finite, and not silent."""

from typing import NamedTuple

from espnet2_sv.data.audio import is_silent, read_section
from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError

LEVELS = ("none", "header", "full")
# Seconds. One analysis window of 25 ms; every supported model needs at least as much
SHORTEST = 0.025
_CHUNK = 500  # utterances per task of a worker process
_BLOCK_SECONDS = 60  # seconds decoded at a time


class AudioCheck(NamedTuple):
    """Result of checking one recording; ``problem`` is empty if it is usable."""

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
    report: ValidationReport,
    shard: str | None = None,
) -> dict[str, float]:
    """Check every recording.

    Args:
        wavs: Audio of each utterance.
        level: ``"header"`` opens each file and decodes its beginning; ``"full"``
            decodes all of it.
        allow_pipes: Whether commands may be run (at both levels).
        nj: Number of processes.
        sample_rate: Expected sampling rate in Hz.
        report: Collects problems and warnings.
        shard: ``"i/n"`` checks the i-th of n splits only.

    Returns:
        Duration in seconds of each usable recording.
    """
    durations = {}
    starts = select_split(range(0, len(wavs), _CHUNK), shard)
    chunks = (_Chunk(_entries(wavs, start), level, allow_pipes) for start in starts)
    for checks in in_processes(_check_chunk, chunks, nj):
        for check in checks:
            if check.problem:
                report.problem(
                    "audio", f"{wavs.name}: utterance {check.utt}: {check.problem}"
                )
                continue
            durations[check.utt] = check.seconds
            add_warnings(check, wavs.name, sample_rate, report)
    return durations


def require_long_enough(spec: str, seconds: float) -> None:
    """Raise SVError if a recording is too short for any model."""
    if seconds <= 0:
        raise SVError(f"{spec}: holds no samples; replace or remove it")
    if seconds < SHORTEST:
        raise SVError(
            f"{spec}: lasts {seconds:.4f} s, less than the {SHORTEST} s that every"
            " model needs; remove it"
        )


def add_warnings(
    check: AudioCheck, name: str, sample_rate: int, report: ValidationReport
) -> None:
    """Warn of silence, another sampling rate, and several channels.

    Args:
        check: Result of checking the recording.
        name: Name of its table, for messages.
        sample_rate: Expected sampling rate in Hz.
        report: Collects the warnings.
    """
    start = f"{name}: utterance {check.utt}: "
    if check.silent:
        report.warning("silent", start + "is silent, all samples are zero")
    if check.rate != sample_rate:
        lost = (
            f", nothing above {check.rate // 2} Hz" if check.rate < sample_rate else ""
        )
        report.warning(
            "sampling rate",
            f"{start}is at {check.rate} Hz and will be converted to {sample_rate}"
            f" Hz{lost}",
        )
    if check.channels > 1:
        report.warning(
            "channels",
            f"{start}has {check.channels} channels; their mean will be used",
        )


def _entries(wavs: KaldiTable, start: int) -> list[tuple[str, str]]:
    stop = min(start + _CHUNK, len(wavs))
    return [(wavs.key(i), wavs.value(i)) for i in range(start, stop)]


def _check_chunk(chunk: _Chunk) -> list[AudioCheck]:
    return [
        _check(utt, spec, chunk.level, chunk.allow_pipes) for utt, spec in chunk.entries
    ]


def _check(utt: str, spec: str, level: str, allow_pipes: bool) -> AudioCheck:
    try:
        with open_audio(spec, allow_pipes) as source:
            seconds = source.frames / source.rate
            require_long_enough(spec, seconds)
            source.read(0, 1)  # a header may promise what the decoder does not know
            silent = level == "full" and _decodes_to_silence(source)
            return AudioCheck(utt, "", seconds, source.rate, source.channels, silent)
    except SVError as e:
        return AudioCheck(utt, str(e))


def _decodes_to_silence(source: AudioSource) -> bool:
    """Decode a recording in blocks; SVError if it is unusable."""
    silent = True
    start, step = 0, _BLOCK_SECONDS * source.rate
    while start < source.frames:
        # no short last block: it could be empty if a container overstates its length
        stop = source.frames if source.frames - start < 2 * step else start + step
        silent = is_silent(read_section(source, source.rate, start, stop)) and silent
        start = stop
    return silent
