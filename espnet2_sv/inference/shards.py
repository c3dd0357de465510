"""Shards of a list of recordings, their results on disk, and merging these."""

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet2_sv.data.arks import write_record
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

# What numpy.load raises for damaged files
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Shard:
    """Consecutive utterances of a ``wav.scp``.

    Attributes:
        utterances: Pairs of utterance and audio entry.
        key: Digest of everything that the embeddings depend on: the model, the
            settings, and each recording's name, path, size and modification time.
    """

    utterances: tuple[tuple[str, str], ...]
    key: str


def make_shards(wavs: dict[str, str], size: int, settings: dict) -> list[Shard]:
    """Split a ``wav.scp`` into shards of at most ``size`` utterances.

    Args:
        wavs: Utterance to audio entry, in the order of the ``wav.scp``.
        size: Utterances per shard.
        settings: Whatever else the embeddings depend on, as plain data.

    Raises:
        SVError: ``size`` is not positive.
    """
    if size < 1:
        raise SVError(f"shard_size {size} must be positive")
    items = list(wavs.items())
    shards = []
    for start in range(0, len(items), size):
        part = tuple(items[start : start + size])
        described = [[utterance, audio, *_stat(audio)] for utterance, audio in part]
        text = json.dumps([settings, described], sort_keys=True)
        shards.append(Shard(part, hashlib.sha256(text.encode()).hexdigest()))
    return shards


def _stat(audio: str) -> tuple[int, int]:
    """Return size in bytes and modification time in ns; (0, 0) if there is no file."""
    if audio.rstrip().endswith("|"):
        return 0, 0
    for path in (audio, audio.rpartition(":")[0]):  # "a.wav", or "a.ark:123"
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        return status.st_size, status.st_mtime_ns
    return 0, 0


@dataclass(frozen=True)
class Part:
    """The results of one shard, in the order of the ``wav.scp``.

    Attributes:
        utterances: Names of the N embedded utterances.
        embeddings: Float32 (N, E).
        seconds: Their durations (N,).
        failed: Pairs of utterance and reason.
        texts: Transcripts of the N utterances in joint recognition, otherwise empty.
        speech: Seconds of speech in them (N,); empty if not looked for.
    """

    utterances: list[str]
    embeddings: np.ndarray
    seconds: np.ndarray
    failed: list[tuple[str, str]]
    texts: list[str] = field(default_factory=list)
    speech: np.ndarray = field(default_factory=lambda: np.zeros(0))


def save_part(path: Path, part: Part) -> None:
    """Write a part to one file."""
    with atomic_write(path, "wb") as stream:
        np.savez(
            stream,
            utterances=np.array(part.utterances, dtype=np.str_),
            embeddings=part.embeddings.astype(np.float32),
            seconds=np.asarray(part.seconds, dtype=np.float64),
            failed=np.array(part.failed, dtype=np.str_).reshape(-1, 2),
            texts=np.array(part.texts, dtype=np.str_),
            speech=np.asarray(part.speech, dtype=np.float64),
        )


def load_part(path: Path) -> Part:
    """Read a file of :func:`save_part`."""
    try:
        with open(path, "rb") as stream, np.load(stream) as data:
            return Part(
                data["utterances"].tolist(),
                data["embeddings"],
                data["seconds"],
                [(utterance, reason) for utterance, reason in data["failed"].tolist()],
                data["texts"].tolist(),
                data["speech"],
            )
    except _DAMAGED as e:
        raise SVError(f"{path}: cannot be read; remove it and run again") from e


def merge_parts(
    paths: Iterable[Path],
    output_dir: str | os.PathLike,
    with_text: bool = False,
    with_speech: bool = False,
) -> tuple[int, int]:
    """Merge parts into ``xvector.ark``, ``xvector.scp``, ``utt2dur`` and ``failed``.

    As in Kaldi, ``xvector.scp`` refers to the archive by ``output_dir`` as given: a
    relative path is relative to the recipe's directory.

    Args:
        paths: Parts in the order of the ``wav.scp``.
        output_dir: Directory to write to.
        with_text: Also write ``text``.
        with_speech: Also write ``utt2speech``; otherwise, an earlier one is removed.

    Returns:
        The numbers of embedded and of failed utterances.
    """
    output_dir = Path(output_dir)
    ark_path = output_dir / "xvector.ark"
    done = failed = 0
    # The scp is removed first and written last: while it exists, the ark is complete.
    (output_dir / "xvector.scp").unlink(missing_ok=True)
    if not with_speech:
        (output_dir / "utt2speech").unlink(missing_ok=True)
    with ExitStack() as stack:
        scp, utt2dur, failures = (
            stack.enter_context(atomic_write(output_dir / name))
            for name in ("xvector.scp", "utt2dur", "failed")
        )
        ark = stack.enter_context(atomic_write(ark_path, "wb"))
        text = (
            stack.enter_context(atomic_write(output_dir / "text"))
            if with_text
            else None
        )
        utt2speech = (
            stack.enter_context(atomic_write(output_dir / "utt2speech"))
            if with_speech
            else None
        )
        for path in paths:
            part = load_part(path)
            for utterance, vector, seconds in _rows(part):
                offset = write_record(ark, utterance, vector)
                scp.write(f"{utterance} {ark_path}:{offset}\n")
                utt2dur.write(f"{utterance} {seconds:.3f}\n")
            if text is not None:
                for utterance, line in zip(part.utterances, part.texts, strict=True):
                    text.write(f"{utterance} {' '.join(line.splitlines())}\n")
            if utt2speech is not None:
                for utterance, found in zip(part.utterances, part.speech, strict=True):
                    utt2speech.write(f"{utterance} {found:.3f}\n")
            for utterance, reason in part.failed:
                failures.write(f"{utterance} {reason}\n")
            done += len(part.utterances)
            failed += len(part.failed)
    return done, failed


def _rows(part: Part) -> Iterator[tuple[str, np.ndarray, float]]:
    return zip(part.utterances, part.embeddings, part.seconds, strict=True)
