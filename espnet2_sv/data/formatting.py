"""Write a Kaldi data directory whose audio all later stages read efficiently."""

import hashlib
import io
import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import soundfile

from espnet2_sv.data.audio import is_silent, length_at, read_section
from espnet2_sv.data.check_audio import AudioCheck, AudioTally, require_long_enough
from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.data.kaldi import write_spk2utt
from espnet2_sv.data.segments import Piece, Utterances
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.spk1_trials import (
    has_spk1_trials,
    read_joined_spk2utt,
    read_spk1_trials,
)
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write, locked

AUDIO_FORMATS = ("flac", "wav")
_PARTS_FORMAT = 2  # of the lines that Formatted.line() writes
_CHUNK = 200  # utterances per task, which an interruption can cost at most
_MAX_NAME = 150  # bytes of the utterance id in a file name


class Settings(NamedTuple):
    """Settings of the conversion.

    Attributes:
        sample_rate: Sampling rate in Hz.
        audio_format: Format of converted files: ``"flac"`` or ``"wav"``, 16 bit.
        audio_dir: Folder of converted files.
        convert_containers: Also convert m4a and the like, which are slow to read in
            parts.
        allow_pipes: Whether commands may be run.
        channel: Channel to use, counted from 1; None means the mean of all.
    """

    sample_rate: int
    audio_format: str
    audio_dir: str
    convert_containers: bool
    allow_pipes: bool
    channel: int | None = None


class Formatted(NamedTuple):
    """Result of checking an utterance's audio, and its new ``wav.scp`` entry."""

    check: AudioCheck
    spec: str = ""

    def line(self) -> str:
        """Return it as a line of a file in ``.parts.*``."""
        _, _, seconds, rate, channels, silent = self.check
        facts = (self.check.utt, f"{seconds:.6f}", rate, channels, int(silent))
        return "\t".join(map(str, (*facts, self.spec))) + "\n"

    @classmethod
    def parse(cls, line: str) -> "Formatted":
        """Read such a line, without its end."""
        utt, seconds, rate, channels, silent, spec = line.split("\t", 5)
        numbers = float(seconds), int(rate), int(channels)
        return cls(AudioCheck(utt, "", *numbers, silent == "1"), spec)


def format_data_dir(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    sample_rate: int = 16000,
    *,
    audio_format: str = "flac",
    convert_containers: bool = False,
    allow_pipes: bool = False,
    channel: int | None = None,
    nj: int = 1,
    shard: str | None = None,
    report: ValidationReport | None = None,
) -> ValidationReport:
    """Copy a data directory, converting only the audio that needs it.

    Mono files at ``sample_rate`` stay where they are, and ``wav.scp`` keeps pointing
    there. All other audio is converted to files below ``output_dir/audio``: resampled,
    channels averaged, 16 bit, cut according to ``segments``. ``utt2dur`` (seconds) is
    written, ``wav.scp`` last; all other files are copied. Trials in the files of
    ESPnet's ``spk1`` recipes are written as ``trials``, too.

    A repeated call after an interruption keeps converted files and continues; a source
    whose entry or modification time changed is converted again.

    Args:
        data_dir: Data directory with ``wav.scp``.
        output_dir: Data directory to write.
        sample_rate: Sampling rate in Hz.
        audio_format: Format of converted files, one of :data:`AUDIO_FORMATS`.
        convert_containers: Also convert m4a and the like.
        allow_pipes: Whether commands may be run.
        channel: Channel to use, counted from 1; None means the mean of all.
        nj: Number of processes.
        shard: ``"i/n"`` converts the i-th of n splits and writes no tables, for cluster
            jobs; a final call without it uses their files, converts the rest, and
            writes the tables.
        report: Collects problems and warnings; by default a new one.

    Returns:
        Problems, in which case ``wav.scp`` is not written; warnings about silent audio.
        What is converted is a logged line.

    Raises:
        SVError: An option is invalid, a table is unreadable, or the folder cannot be
            written.
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    if audio_format not in AUDIO_FORMATS:
        raise SVError(
            f"audio_format is {audio_format}; choose {' or '.join(AUDIO_FORMATS)}"
        )
    if data_dir.resolve() == output_dir.resolve():
        raise SVError(
            f"{output_dir}: is the data directory itself; choose another output_dir"
        )
    utts = Utterances(data_dir)
    if not len(utts):
        raise SVError(f"{utts.wavs.name}: lists no audio; prepare the data first")
    settings = Settings(
        sample_rate,
        audio_format,
        str(output_dir / "audio"),
        convert_containers,
        allow_pipes,
        channel,
    )
    # jobs that each do one split run side by side; the one that writes tables is alone
    with locked(output_dir, shared=shard is not None):
        report = report or ValidationReport()
        _format_dir(data_dir, output_dir, utts, settings, nj, shard, report)
    return report


def _format_dir(
    data_dir: Path,
    output_dir: Path,
    utts: Utterances,
    settings: Settings,
    nj: int,
    shard: str | None,
    report: ValidationReport,
) -> None:
    parts = output_dir / f".parts.{_fingerprint(utts, settings)}"
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SVError(
            f"{output_dir}: cannot be written ({e.strerror}); choose another"
        ) from e
    trials = read_spk1_trials(data_dir) if has_spk1_trials(data_dir) else None
    _format_parts(utts, settings, parts, nj, report, shard)
    if shard is None and not report.num_problems:
        _copy_rest(data_dir, output_dir)
        if trials is not None:
            _write_as_kaldi(trials, data_dir, output_dir)
        tally = AudioTally(utts.wavs.name, settings.sample_rate)
        _join(parts, utts, output_dir, tally)
        for unfinished in output_dir.glob(".parts.*"):
            shutil.rmtree(unfinished)
        tally.warn_of_silence(report)
        if line := tally.conversions():
            logging.info("%s: %s", utts.wavs.name, line)


def _format_parts(
    utts: Utterances,
    settings: Settings,
    parts: Path,
    nj: int,
    report: ValidationReport,
    shard: str | None,
) -> None:
    """Format chunk by chunk; each chunk without problems leaves a file in ``parts``."""
    total = len(utts)
    starts = select_split(range(0, total, _CHUNK), shard)
    missing = [start for start in starts if not _part(parts, start).exists()]
    chunks = (
        (settings, [utts[i] for i in range(start, min(start + _CHUNK, total))])
        for start in missing
    )
    for start, chunk in zip(
        missing, in_processes(_format_chunk, chunks, nj), strict=True
    ):
        checks = [done.check for done in chunk]
        for check in checks:
            if check.problem:
                report.problem(
                    "audio",
                    f"{utts.wavs.name}: utterance {check.utt}: {check.problem}",
                )
        if not any(check.problem for check in checks):
            with atomic_write(_part(parts, start)) as f:
                f.writelines(done.line() for done in chunk)
        if start // _CHUNK % 50 == 0:
            logging.info("processed %d of %d utterances", start + len(chunk), total)


def _join(parts: Path, utts: Utterances, output_dir: Path, tally: AudioTally) -> None:
    with (
        atomic_write(output_dir / "wav.scp") as wav_scp,
        atomic_write(output_dir / "utt2dur") as utt2dur,
    ):
        for start in range(0, len(utts), _CHUNK):
            lines = _part(parts, start).read_text(encoding="utf-8").split("\n")[:-1]
            for index, line in enumerate(lines, start):
                check, spec = Formatted.parse(line)
                wav_scp.write(f"{check.utt} {spec}\n")
                utt2dur.write(f"{check.utt} {check.seconds:.6f}\n")
                tally.add(check, replaced=spec != utts[index].spec)


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:010d}"


def _format_chunk(chunk: tuple[Settings, list[Piece]]) -> list[Formatted]:
    settings, pieces = chunk
    return [_format(piece, settings) for piece in pieces]


def _format(piece: Piece, settings: Settings) -> Formatted:
    try:
        path = _converted_path(piece, settings)
        if _is_fresh(path, piece.spec):
            with open_audio(str(path)) as source:
                seconds = source.frames / source.rate
            return Formatted(AudioCheck(piece.utt, "", seconds), str(path))
        with open_audio(piece.spec, settings.allow_pipes) as source:
            require_long_enough(piece.spec, source.frames / source.rate)
            if _stays(piece, source, settings):
                return _formatted(
                    piece, piece.spec, source, source.frames / source.rate
                )
            speech = _read(piece, source, settings)
        seconds = len(speech) / settings.sample_rate
        require_long_enough(piece.spec, seconds)
    except SVError as e:
        return Formatted(AudioCheck(piece.utt, str(e)))
    _write(path, speech, settings)  # a failure here, e.g. a full disk, is fatal
    return _formatted(piece, str(path), source, seconds, is_silent(speech))


def _formatted(
    piece: Piece, spec: str, source: AudioSource, seconds: float, silent: bool = False
) -> Formatted:
    return Formatted(
        AudioCheck(piece.utt, "", seconds, source.rate, source.channels, silent), spec
    )


def _stays(piece: Piece, source: AudioSource, settings: Settings) -> bool:
    return (
        piece.whole
        and not piece.spec.endswith("|")
        and source.rate == settings.sample_rate
        and source.channels == 1
        and settings.channel in (None, 1)
        and ((source.exact and source.seekable) or not settings.convert_containers)
    )


def _read(piece: Piece, source: AudioSource, settings: Settings) -> np.ndarray:
    piece.require_inside(source.frames / source.rate)
    first = round(piece.start * settings.sample_rate)
    last = length_at(source, settings.sample_rate)
    last = round(min(piece.end * settings.sample_rate, last))
    return read_section(source, settings.sample_rate, first, last, settings.channel)


def _converted_path(piece: Piece, settings: Settings) -> Path:
    """Return a path that depends on utterance and settings; ids may contain "/"."""
    asked = f"{tuple(piece)}\n{settings.sample_rate}"
    if settings.channel is not None:
        asked += f"\nchannel {settings.channel}"
    digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
    name = f"{quote(piece.utt, safe='')[:_MAX_NAME]}.{digest}.{settings.audio_format}"
    return Path(settings.audio_dir) / digest[:2] / name


def _is_fresh(path: Path, spec: str) -> bool:
    """Whether ``path`` exists and is not older than its source file, if that is one."""
    if not path.exists():
        return False
    return not os.path.isfile(spec) or os.path.getmtime(spec) <= os.path.getmtime(path)


def _write(path: Path, speech: np.ndarray, settings: Settings) -> None:
    options = {"format": settings.audio_format.upper(), "subtype": "PCM_16"}
    encoded = io.BytesIO()  # libsndfile does not say why a write fails
    soundfile.write(encoded, np.clip(speech, -1, 1), settings.sample_rate, **options)
    with atomic_write(path, "wb") as f:
        f.write(encoded.getbuffer())


def _copy_rest(data_dir: Path, output_dir: Path) -> None:
    """Copy all files except those that are rewritten, and ``segments``."""
    for path in sorted(data_dir.iterdir()):
        done = path.name in ("wav.scp", "utt2dur", "segments")
        if path.is_file() and not done and not path.name.startswith("."):
            with (
                atomic_write(output_dir / path.name, "wb") as out,
                open(path, "rb") as f,
            ):
                shutil.copyfileobj(f, out)


def _write_as_kaldi(trials: list[str], data_dir: Path, output_dir: Path) -> None:
    """Write the trials of a ``spk1`` recipe, and one line per speaker in spk2utt."""
    with atomic_write(output_dir / "trials") as f:
        f.writelines(f"{line}\n" for line in trials)
    if (data_dir / "spk2utt").exists():
        spk2utt: dict[str, list[str]] = {}
        for utt, speaker in read_joined_spk2utt(data_dir / "spk2utt"):
            spk2utt.setdefault(speaker, []).append(utt)
        write_spk2utt(output_dir / "spk2utt", spk2utt)


def _fingerprint(utts: Utterances, settings: Settings) -> str:
    digest = hashlib.sha256(f"{_PARTS_FORMAT} {settings!r}".encode())
    for table in (utts.wavs, utts.segments):
        digest.update(b"none" if table is None else table.sha256.encode())
    return digest.hexdigest()[:16]
