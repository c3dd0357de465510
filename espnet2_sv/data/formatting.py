"""Making a Kaldi data directory whose audio all later stages can read cheaply."""

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import soundfile

from espnet2_sv.data.audio import length_at, read_section
from espnet2_sv.data.check_audio import AudioReport, is_silent, require_whole, warn
from espnet2_sv.data.decoders import AudioSource
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.data.segments import Piece, Utterances
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

AUDIO_FORMATS = ("flac", "wav")
_CHUNK = 200  # utterances a process takes at a time, and that a kill can cost
_MAX_NAME = 150  # bytes of an utterance id that go into a file name
_MAX_OVERSHOOT = 0.5  # seconds that a segment may end after its recording, as in Kaldi


class Settings(NamedTuple):
    """What the audio is to be.

    Attributes:
        sample_rate: Hz.
        audio_format: Of what is converted: ``"flac"`` or ``"wav"``, 16 bit.
        audio_dir: Where converted files go.
        convert_containers: Convert m4a and the like too, which are slower to read in
            parts.
        allow_pipes: Whether commands may be run.
    """

    sample_rate: int
    audio_format: str
    audio_dir: str
    convert_containers: bool
    allow_pipes: bool


class Formatted(NamedTuple):
    """What was found out about an utterance's audio, and where it is now."""

    report: AudioReport
    spec: str = ""


def format_data_dir(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    sample_rate: int = 16000,
    *,
    audio_format: str = "flac",
    convert_containers: bool = False,
    allow_pipes: bool = False,
    nj: int = 1,
    listed: int = 50,
    shard: str | None = None,
) -> ValidationReport:
    """Copy a data directory, converting only the audio that needs it.

    Audio stays where it is (``wav.scp`` goes on pointing there) if it is mono, at
    ``sample_rate`` and no command. Everything else becomes a file below
    ``output_dir/audio``: resampled, the mean of its channels, 16 bit, cut if there is a
        ``segments`` file. ``utt2dur`` (seconds) is written;
    all other files are copied. ``wav.scp`` is written last.

    A second call after a kill keeps what was converted and goes on; a changed source
    (its entry, or its file's time of change) is converted again.

    Args:
        data_dir: Holds ``wav.scp``; what else it holds is copied.
        output_dir: The folder to make.
        sample_rate: Hz.
        audio_format: Of what is converted, of :data:`AUDIO_FORMATS`.
        convert_containers: Convert m4a and the like too.
        allow_pipes: Whether commands may be run.
        nj: Processes.
        listed: Most problems of one kind that are told in full.
        shard: ``"i/n"`` converts the i-th of n shares and writes no tables, for cluster
            jobs; a call without it takes what they have done, does what is left, and
            writes the tables.

    Returns:
        Problems, if any; then ``wav.scp`` is not written. Warnings of what is
        converted, or silent.

    Raises:
        SVError: A wrong option, unreadable tables, or a folder that cannot be written.
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
    )
    parts = output_dir / f".parts.{_fingerprint(utts, settings)}"
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SVError(
            f"{output_dir}: cannot be written ({e.strerror}); choose another"
        ) from e
    findings = ValidationReport(listed)
    _format_parts(utts, settings, parts, nj, findings, shard)
    if shard is None and not findings.num_problems:
        _copy_rest(data_dir, output_dir)
        _join(parts, len(utts), output_dir)
        for unfinished in output_dir.glob(".parts.*"):
            shutil.rmtree(unfinished)
    return findings


def _format_parts(
    utts: Utterances,
    settings: Settings,
    parts: Path,
    nj: int,
    findings: ValidationReport,
    shard: str | None,
) -> None:
    """Format chunk by chunk; a chunk without problems leaves a file in ``parts``."""
    total = len(utts)
    share = select_split(range(0, total, _CHUNK), shard)
    missing = [start for start in share if not _part(parts, start).exists()]
    chunks = (
        (settings, [utts[i] for i in range(start, min(start + _CHUNK, total))])
        for start in missing
    )
    for start, chunk in zip(
        missing, in_processes(_format_chunk, chunks, nj), strict=True
    ):
        reports = [done.report for done in chunk]
        for report in reports:
            if report.problem:
                findings.problem(
                    "audio",
                    f"{utts.wavs.name}: utterance {report.utt}: {report.problem}",
                )
            else:
                warn(report, utts.wavs.name, settings.sample_rate, findings)
        if not any(report.problem for report in reports):
            with atomic_write(_part(parts, start)) as f:
                f.writelines(
                    f"{d.report.utt}\t{d.report.seconds:.6f}\t{d.spec}\n" for d in chunk
                )
        if start // _CHUNK % 50 == 0:
            logging.info("went through %d of %d utterances", start + len(chunk), total)


def _join(parts: Path, total: int, output_dir: Path) -> None:
    with (
        atomic_write(output_dir / "wav.scp") as wav_scp,
        atomic_write(output_dir / "utt2dur") as utt2dur,
    ):
        for start in range(0, total, _CHUNK):
            for line in (
                _part(parts, start).read_text(encoding="utf-8").split("\n")[:-1]
            ):
                utt, seconds, spec = line.split("\t", 2)
                wav_scp.write(f"{utt} {spec}\n")
                utt2dur.write(f"{utt} {seconds}\n")


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
                return _formatted(piece, str(path), source, source.frames / source.rate)
        with open_audio(piece.spec, settings.allow_pipes) as source:
            if source.frames < 1:
                raise SVError(f"{piece.spec}: holds no samples; replace or remove it")
            require_whole(piece.spec)
            if _stays(piece, source, settings):
                return _formatted(
                    piece, piece.spec, source, source.frames / source.rate
                )
            speech = _read(piece, source, settings.sample_rate)
    except SVError as e:
        return Formatted(AudioReport(piece.utt, str(e)))
    _write(path, speech, settings)  # what stops this stops the rest, too
    seconds = len(speech) / settings.sample_rate
    return _formatted(piece, str(path), source, seconds, is_silent(speech))


def _formatted(
    piece: Piece, spec: str, source: AudioSource, seconds: float, silent: bool = False
) -> Formatted:
    return Formatted(
        AudioReport(piece.utt, "", seconds, source.rate, source.channels, silent), spec
    )


def _stays(piece: Piece, source: AudioSource, settings: Settings) -> bool:
    return (
        piece.whole
        and not piece.spec.endswith("|")
        and source.rate == settings.sample_rate
        and source.channels == 1
        and (source.exact or not settings.convert_containers)
    )


def _read(piece: Piece, source: AudioSource, sample_rate: int) -> np.ndarray:
    seconds = source.frames / source.rate
    if seconds + _MAX_OVERSHOOT < piece.end < float("inf"):
        raise SVError(
            f"{piece.spec}: lasts {seconds:.2f} s, but the segment goes to"
            f" {piece.end:.2f} s; correct segments"
        )
    last = min(piece.end * sample_rate, length_at(source, sample_rate))
    return read_section(
        source, sample_rate, round(piece.start * sample_rate), round(last)
    )


def _converted_path(piece: Piece, settings: Settings) -> Path:
    """A name that changes with what is asked for; ids may hold any character, also "/"."""
    asked = f"{tuple(piece)}\n{settings.sample_rate}".encode()
    digest = hashlib.sha256(asked).hexdigest()[:12]
    name = f"{quote(piece.utt, safe='')[:_MAX_NAME]}.{digest}.{settings.audio_format}"
    return Path(settings.audio_dir) / digest[:2] / name


def _is_fresh(path: Path, spec: str) -> bool:
    """Whether ``path`` is there and not older than its source, where that is a file."""
    if not path.exists():
        return False
    return not os.path.isfile(spec) or os.path.getmtime(spec) <= os.path.getmtime(path)


def _write(path: Path, speech: np.ndarray, settings: Settings) -> None:
    options = {"format": settings.audio_format.upper(), "subtype": "PCM_16"}
    try:
        with atomic_write(path, "wb") as f:
            soundfile.write(f, np.clip(speech, -1, 1), settings.sample_rate, **options)
    except (soundfile.SoundFileError, OSError) as e:
        raise SVError(f"{path}: cannot be written ({e}); is the disk full?") from e


def _copy_rest(data_dir: Path, output_dir: Path) -> None:
    """Copy all files but those that are written anew or have been applied."""
    for path in sorted(data_dir.iterdir()):
        done = path.name in ("wav.scp", "utt2dur", "segments")
        if path.is_file() and not done and not path.name.startswith("."):
            with (
                atomic_write(output_dir / path.name, "wb") as out,
                open(path, "rb") as f,
            ):
                shutil.copyfileobj(f, out)


def _fingerprint(utts: Utterances, settings: Settings) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for table in (utts.wavs, utts.segments):
        digest.update(b"none" if table is None else table.sha256.encode())
    return digest.hexdigest()[:16]
