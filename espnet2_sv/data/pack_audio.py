"""Packing a data directory's audio into few large files, for network file systems."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.job_split import in_processes
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.sources import ARK_OFFSET
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

_MARK = b"AUDIO\4"  # kaldiio's: the size follows in 4 bytes, then a file as it is
_MOST_BYTES = 2**32 - 1  # of one recording, so that its size fits


class Record(NamedTuple):
    """A recording to pack: utterance, path, its size in bytes and time of change."""

    utt: str
    path: str
    size: int
    changed: float

    @property
    def head(self) -> bytes:
        """What comes before the file itself."""
        return self.utt.encode() + b" " + _MARK + self.size.to_bytes(4, "little")


class Shard(NamedTuple):
    """An ark with what is to be in it; ``audio.3.scp`` beside ``audio.3.ark`` says it is done."""

    ark: Path
    records: list[Record]

    @property
    def scp(self) -> Path:
        """The list of its entries."""
        return self.ark.with_suffix(".scp")

    def entries(self) -> list[tuple[str, str]]:
        """Utterances and the places where they will be, ``audio.3.ark:OFFSET``."""
        entries, position = [], 0
        for record in self.records:
            mark = position + len(record.utt.encode()) + 1
            entries.append((record.utt, f"{self.ark}:{mark}"))
            position += len(record.head) + record.size
        return entries

    def text(self) -> str:
        """The contents of :attr:`scp`."""
        return "".join(f"{utt} {place}\n" for utt, place in self.entries())

    def finished(self) -> bool:
        """Whether an earlier call has written it, from files that have not changed since."""
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

    The audio's bytes are kept as they are (wav, flac, m4a, ...), so reading gives the
    same samples. ``wav.scp`` is written last, in the order that it had; all other files
    are copied. A second call after a kill keeps the arks that were finished.

    Args:
        data_dir: Holds ``wav.scp`` with paths of files.
        output_dir: The folder to make; the new ``wav.scp`` names its arks by this path.
        shard_bytes: An ark is closed when it has reached this size.
        shuffle: Mix the utterances over the arks, for readers that go through them in
            order; otherwise they stay in the order of ``wav.scp``.
        seed: Of the mixing.
        nj: Processes.

    Returns:
        The number of arks.

    Raises:
        SVError: A wrong option, an entry that is not a file, or one that cannot be read
            or written.
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
    shards = plan(records, output_dir, shard_bytes)
    todo = [shard for shard in shards if not shard.finished()]
    if len(todo) < len(shards):
        logging.info(
            "%s: %d arks are there already", output_dir, len(shards) - len(todo)
        )
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
            f"{where}: is not a file; use sv_format_wav for commands, arks stay as is"
        )
    try:
        status = os.stat(spec)
    except OSError as e:
        raise SVError(f"{where}: cannot be read ({e.strerror})") from e
    if not os.path.isfile(spec) or not 0 < status.st_size <= _MOST_BYTES:
        raise SVError(f"{where}: is empty, too large or no file; replace or remove it")
    return Record(utt, spec, status.st_size, status.st_mtime)


def _write(shard: Shard) -> str:
    """Write an ark and then its list; return the ark's name."""
    try:
        with atomic_write(shard.ark, "wb") as ark:
            for record in shard.records:
                content = Path(record.path).read_bytes()
                if len(content) != record.size:
                    raise SVError(
                        f"{record.path}: changes while it is packed; call again"
                    )
                ark.write(record.head)
                ark.write(content)
    except OSError as e:
        raise SVError(f"{shard.ark}: cannot be written ({e}); is the disk full?") from e
    with atomic_write(shard.scp) as f:
        f.write(shard.text())
    return str(shard.ark)
