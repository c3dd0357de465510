"""Pack a data directory's audio into few large files, for network file systems."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.job_split import in_processes
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import ARK_OFFSET, require_known_without_name
from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import atomic_write, locked
from espnet2_sv.textfile import read_bytes

_MARK = b"AUDIO\4"  # of kaldiio; a 4-byte size and an unchanged audio file follow
_MOST_BYTES = 2**32 - 1  # of one recording, the largest 4-byte size


class Record(NamedTuple):
    """A recording to pack: utterance, path, size in bytes, modification time."""

    utt: str
    path: str
    size: int
    changed: float

    @property
    def head(self) -> bytes:
        """Bytes that precede the audio file in the ark."""
        return self.utt.encode() + b" " + _MARK + self.size.to_bytes(4, "little")


class Shard(NamedTuple):
    """An ark and its records; it is finished when ``audio.N.scp`` exists beside it."""

    ark: Path
    records: list[Record]

    @property
    def scp(self) -> Path:
        """Path of the list of its entries."""
        return self.ark.with_suffix(".scp")

    def entries(self) -> list[tuple[str, str]]:
        """Return utterances and ``wav.scp`` entries, e.g. ``audio.3.ark:OFFSET``."""
        entries, position = [], 0
        for record in self.records:
            mark = position + len(record.utt.encode()) + 1
            entries.append((record.utt, f"{self.ark}:{mark}"))
            position += len(record.head) + record.size
        return entries

    def text(self) -> str:
        """Return the content of :attr:`scp`."""
        return "".join(f"{utt} {place}\n" for utt, place in self.entries())

    def finished(self) -> bool:
        """Whether an earlier call wrote it, and the files have not changed since."""
        try:
            if self.scp.read_text(encoding="utf-8") != self.text():
                return False
            status = self.ark.stat()
        except OSError:
            return False
        size = sum(len(record.head) + record.size for record in self.records)
        changed = max(record.changed for record in self.records)
        return status.st_size == size and changed <= status.st_mtime


def pack_audio(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    shard_bytes: int = 10**9,
    shuffle: bool = False,
    seed: int = 0,
    nj: int = 1,
) -> int:
    """Copy a data directory with its audio in arks.

    Audio files are copied unchanged (wav, flac, m4a, ...), so the samples are the same.
    ``wav.scp`` is written last, in its original order; all other files are copied. A
    repeated call after an interruption keeps finished arks.

    Args:
        data_dir: Data directory whose ``wav.scp`` lists files.
        output_dir: Data directory to write; ``wav.scp`` uses this path for the arks.
        shard_bytes: Size in bytes at which an ark is closed.
        shuffle: Distribute the utterances over the arks at random, for sequential
            readers; otherwise they stay in the order of ``wav.scp``.
        seed: Seed of the shuffling.
        nj: Number of processes.

    Returns:
        The number of arks.

    Raises:
        SVError: An option is invalid, an entry is not a file, a file cannot be read or
            written, or its name alone tells its format (raw G.722).
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    if data_dir.resolve() == output_dir.resolve():
        raise SVError(
            f"{output_dir}: is the data directory itself; choose another output_dir"
        )
    if shard_bytes < 1:
        raise SVError(
            f"shard_bytes is {shard_bytes}; choose 1 or more, e.g. 1000000000"
        )
    if (data_dir / "segments").exists():
        raise SVError(f"{data_dir}: has segments; cut the audio first (sv_format_wav)")
    wavs = KaldiTable.read(data_dir / "wav.scp")
    if not len(wavs):
        raise SVError(f"{wavs.name}: lists no audio; prepare the data first")
    order = (
        np.random.default_rng(seed).permutation(len(wavs))
        if shuffle
        else range(len(wavs))
    )
    records = [_record(wavs, int(i)) for i in order]
    with locked(output_dir):
        return _pack(data_dir, output_dir, wavs, records, shard_bytes, nj)


def _pack(
    data_dir: Path,
    output_dir: Path,
    wavs: KaldiTable,
    records: list[Record],
    shard_bytes: int,
    nj: int,
) -> int:
    shards = plan(records, output_dir, shard_bytes)
    todo = [shard for shard in shards if not shard.finished()]
    if len(todo) < len(shards):
        logging.info("%s: %d arks exist already", output_dir, len(shards) - len(todo))
    for done, shard in enumerate(in_processes(_write, todo, nj), 1):
        logging.info("wrote %s, %d of %d", shard, done, len(todo))
    for unfinished in output_dir.glob(".audio.*.part"):
        unfinished.unlink()
    for path in sorted(data_dir.iterdir()):
        if path.is_file() and path.name != "wav.scp" and not path.name.startswith("."):
            with (
                atomic_write(output_dir / path.name, "wb") as out,
                open(path, "rb") as f,
            ):
                shutil.copyfileobj(f, out)
    places = dict(entry for shard in shards for entry in shard.entries())
    with atomic_write(output_dir / "wav.scp") as f:
        f.writelines(f"{utt} {places[utt]}\n" for utt, _ in wavs.items())
    return len(shards)


def plan(records: Sequence[Record], output_dir: Path, shard_bytes: int) -> list[Shard]:
    """Divide records, in order, into shards that are closed at ``shard_bytes``."""
    shards: list[Shard] = []
    size = shard_bytes
    for record in records:
        if size >= shard_bytes:
            shards.append(Shard(output_dir / f"audio.{len(shards) + 1}.ark", []))
            size = 0
        shards[-1].records.append(record)
        size += len(record.head) + record.size
    return shards


def _record(wavs: KaldiTable, entry: int) -> Record:
    utt, spec = wavs.key(entry), wavs.value(entry)
    where = f"{wavs.name}: utterance {utt}: {spec}"
    if spec.endswith("|") or ARK_OFFSET.fullmatch(spec):
        raise SVError(
            f"{where}: is not a file; convert commands with sv_format_wav, arks stay"
            " as they are"
        )
    try:
        status = os.stat(spec)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        reason = e.strerror if isinstance(e, OSError) else e
        raise SVError(
            f"{printable(where, len(where))}: cannot be read ({reason})"
        ) from e
    if not os.path.isfile(spec) or not 0 < status.st_size <= _MOST_BYTES:
        raise SVError(
            f"{where}: is empty, too large or not a file; replace or remove it"
        )
    return Record(utt, spec, status.st_size, status.st_mtime)


def _write(shard: Shard) -> str:
    """Write an ark and then its list; return the ark's name."""
    with atomic_write(shard.ark, "wb") as ark:
        for record in shard.records:
            content = read_bytes(record.path)
            if len(content) != record.size:
                raise SVError(f"{record.path}: changed while it was packed; run again")
            require_known_without_name(record.path, content)
            ark.write(record.head)
            ark.write(content)
    with atomic_write(shard.scp) as f:
        f.write(shard.text())
    return str(shard.ark)
