"""Cutting a list of recordings into pieces of work that are finished, kept and reused whole."""

import hashlib
import json
import os
from dataclasses import dataclass

from espnet2_sv.errors import SVError


@dataclass(frozen=True)
class Shard:
    """Consecutive utterances of a ``wav.scp``.

    Attributes:
        utterances: Pairs of utterance and where its audio is.
        key: Digest of everything that the embeddings depend on: the model, the settings, and each
            recording's name, place, size and time of change.
    """

    utterances: tuple[tuple[str, str], ...]
    key: str


def make_shards(wavs: dict[str, str], size: int, settings: dict) -> list[Shard]:
    """Cut ``wavs`` (utterance to audio) into shards of at most ``size`` utterances.

    Args:
        wavs: In the order of the ``wav.scp``.
        size: Utterances a shard.
        settings: What else the embeddings depend on; plain data.
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
    """Return size in bytes and time of change in ns, (0, 0) for a pipe or what is not there."""
    if audio.rstrip().endswith("|"):
        return 0, 0
    for path in (audio, audio.rpartition(":")[0]):  # "a.wav", or "a.ark:123"
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        return status.st_size, status.st_mtime_ns
    return 0, 0
