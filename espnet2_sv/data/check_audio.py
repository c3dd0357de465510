"""Check recordings: readable, complete, finite, and not silent."""

from collections import Counter
from typing import NamedTuple

from espnet2_sv.data.audio import is_silent, read_section
from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.validation_report import ValidationReport, name_first
from espnet2_sv.errors import SVError

LEVELS = ("none", "header", "full")
# Seconds. One analysis window of 25 ms; every supported model needs at least as much
SHORTEST = 0.025
_CHUNK = 500  # utterances per task of a worker process
# seconds of work that are done before worker processes are started, which takes longer
ALONE_SECONDS = 2.0
_BLOCK_SECONDS = 60  # seconds decoded at a time


class AudioCheck(NamedTuple):
    """Result of checking one recording; ``problem`` is empty if it is usable.

    ``rate`` (Hz) is 0 if it is not known, because the recording has been converted.
    """

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
    tally = AudioTally(wavs.name, sample_rate)
    starts = select_split(range(0, len(wavs), _CHUNK), shard)
    chunks = (_Chunk(_entries(wavs, start), level, allow_pipes) for start in starts)
    for checks in in_processes(_check_chunk, chunks, nj, ALONE_SECONDS):
        for check in checks:
            if check.problem:
                report.problem(
                    "audio", f"{wavs.name}: utterance {check.utt}: {check.problem}"
                )
                continue
            durations[check.utt] = check.seconds
            tally.add(check)
    tally.warn_of_silence(report)
    tally.warn_of_conversions(report)
    return durations


class AudioTally:
    """Counts silence, other sampling rates and several channels, for one line each.

    Args:
        name: Name of the table, for messages.
        sample_rate: Sampling rate in Hz to which recordings are converted.
    """

    def __init__(self, name: str, sample_rate: int):
        self._name = name
        self._sample_rate = sample_rate
        self._total = 0
        self._silent: list[str] = []
        self._converted: list[tuple[str, int, int]] = []  # utterance, rate, channels

    def add(self, check: AudioCheck, replaced: bool = False) -> None:
        """Count a usable recording.

        Args:
            check: What is known of it.
            replaced: Whether it is converted in any case, e.g. because of its format.
        """
        self._total += 1
        if check.silent:
            self._silent.append(check.utt)
        if replaced or check.rate != self._sample_rate or check.channels > 1:
            self._converted.append((check.utt, check.rate, check.channels))

    def warn_of_silence(self, report: ValidationReport) -> None:
        """Name the recordings whose samples are all zero, in one line."""
        if self._silent:
            report.summary(
                "silent",
                f"{self._name}: {_count(self._silent, self._total)} silent, all samples"
                f" are zero: {name_first(self._silent)}",
                (f"{self._name}: utterance {utt}: is silent" for utt in self._silent),
            )

    def warn_of_conversions(self, report: ValidationReport) -> None:
        """Say in one line what is converted."""
        if self._converted:
            report.summary(
                "converted", f"{self._name}: {self.conversions()}", self._details()
            )

    def conversions(self) -> str:
        """Return one line about what is converted; "" if nothing is.

        E.g. "1,641 of 2,234 recordings are converted: 8 kHz 1,204 (nothing above 4
        kHz), 44.1 kHz 437; 704 have two channels, of which the mean is used".
        """
        if not self._converted:
            return ""
        rates = Counter(rate for _, rate, _ in self._converted)
        channels = Counter(n for _, _, n in self._converted if n > 1)
        parts = [
            f"{_khz(rate)} {count:,}{self._lost(rate)}"
            for rate, count in sorted(rates.items(), key=lambda item: -item[1])
            if rate not in (0, self._sample_rate)
        ]
        others = sum(r == self._sample_rate and n < 2 for _, r, n in self._converted)
        if others:
            parts.append(f"cut or of another format {others:,}")
        if rates[0]:
            parts.append(f"by an earlier run {rates[0]:,}")
        line = f"{_count(self._converted, self._total)} converted"
        if parts:
            line += f": {', '.join(parts)}"
        for number, count in sorted(channels.items()):
            have = "has" if count == 1 else "have"
            line += f"; {count:,} {have} {'two' if number == 2 else number} channels"
        return line + (", of which the mean is used" if channels else "")

    def _details(self):
        for utt, rate, channels in self._converted:
            what = []
            if rate != self._sample_rate:
                what.append(f"is at {rate} Hz{self._lost(rate)}")
            if channels > 1:
                what.append(f"has {channels} channels")
            yield f"{self._name}: utterance {utt}: {' and '.join(what)}"

    def _lost(self, rate: int) -> str:
        return f" (nothing above {_khz(rate / 2)})" if rate < self._sample_rate else ""


def _count(some: list, total: int) -> str:
    noun = "recording" if total == 1 else "recordings"
    return f"{len(some):,} of {total:,} {noun} {'is' if len(some) == 1 else 'are'}"


def _khz(rate: float) -> str:
    return f"{rate / 1000:g} kHz"


def require_long_enough(spec: str, seconds: float) -> None:
    """Raise SVError if a recording is too short for any model."""
    if seconds <= 0:
        raise SVError(f"{spec}: holds no samples; replace or remove it")
    if seconds < SHORTEST:
        raise SVError(
            f"{spec}: lasts {seconds:.4f} s, less than the {SHORTEST} s that every"
            " model needs; remove it"
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
