"""The file of enrolled speakers: arrays only, which nothing is unpickled from.

It is a zip archive without compression, of numpy's ``.npy`` arrays, as
``numpy.load(path, allow_pickle=False)`` reads it:

- ``header``: UTF-8 bytes of a JSON object with ``format`` (:data:`FORMAT`), ``model``,
  the fingerprint of the model that made the embeddings, and ``lists``, the keys of the
  lists that were enrolled last;
- ``names``: UTF-8 bytes of the N names, one a line;
- ``embeddings``: float32 (N, E), of unit length;
- ``resultant``, ``seconds``, ``speech``, ``magnitudes`` (float64) and ``recordings``
  (int64): (N,), see :class:`espnet2_sv.inference.speaker_template.SpeakerTemplate`.
"""

import json
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.speaker_template import check_name

FORMAT = "espnet2_sv speakers 1"
COLUMNS: dict[str, type] = {
    "resultant": np.float64,
    "seconds": np.float64,
    "speech": np.float64,
    "magnitudes": np.float64,
    "recordings": np.int64,
}
_MOST_LISTS = 100
_BYTES_AT_ONCE = 1 << 20
_ROWS_AT_ONCE = 1 << 16
_TOLERANCE = 1e-3  # of an embedding's length
# What zipfile and numpy raise for damaged files
_DAMAGED = (
    EOFError,
    KeyError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class SpeakerTable:
    """The content of a file.

    Attributes:
        model: Fingerprint of the model.
        names: The N speakers.
        embeddings: Float32 (N, E).
        columns: Arrays (N,) by name, those of :data:`COLUMNS`.
        lists: Keys of lists of recordings that were enrolled, the last ones.
    """

    model: str
    names: list[str]
    embeddings: np.ndarray
    columns: dict[str, np.ndarray]
    lists: list[str] = field(default_factory=list)


def write_speakers(path: Path, table: SpeakerTable) -> None:
    """Write a file, complete or not at all."""
    lists = table.lists[-_MOST_LISTS:]
    header = json.dumps({"format": FORMAT, "model": table.model, "lists": lists})
    with atomic_write(path, "wb") as stream:
        arrays: dict[str, Any] = {
            "header": _bytes(header),
            "names": _bytes("\n".join(table.names)),
            "embeddings": table.embeddings,
            **table.columns,
        }
        np.savez(stream, **arrays)


def read_speakers(path: Path, model: str) -> SpeakerTable:
    """Read a file, which is untrusted.

    Raises:
        SVError: There is no such file; it is damaged, of another version or made with
            another model.
    """
    try:
        with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
            most = os.fstat(stream.fileno()).st_size
            lists = _read_header(path, _text(archive, "header", most), model)
            names = _text(archive, "names", most).split("\n")
            embeddings = _array(archive, "embeddings", np.float32, most)
            columns = {
                name: _array(archive, name, kind, most)
                for name, kind in COLUMNS.items()
            }
    except SVError:
        raise
    except FileNotFoundError as e:
        raise SVError(f"{path}: no such store of speakers; enrol one first") from e
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except _DAMAGED as e:
        raise SVError(
            f"{path}: is no store of speakers, or is damaged; take a copy of it, or"
            " enrol the speakers anew"
        ) from e
    names = names if len(embeddings) or names != [""] else []
    table = SpeakerTable(model, names, embeddings, columns, lists)
    _check(path, table)
    return table


def _read_header(path: Path, text: str, model: str) -> list[str]:
    """Refuse the file of another version or model, and return the keys of lists."""
    header: Any = json.loads(text)
    if not isinstance(header, dict) or not isinstance(header.get("format"), str):
        raise ValueError("no header")
    if header["format"] != FORMAT:
        raise SVError(
            f"{path}: has the format {header['format'][:40]!a}, not {FORMAT!r}; use"
            " the version of espnet2_sv that wrote it, or enrol the speakers anew"
        )
    if header.get("model") != model:
        raise SVError(
            f"{path}: its speakers were enrolled with another model, whose embeddings"
            " cannot be compared; use that model, or enrol them anew in another store"
        )
    lists = header.get("lists", [])
    if not isinstance(lists, list) or not all(isinstance(key, str) for key in lists):
        raise ValueError("no keys of lists")
    return lists


def _check(path: Path, table: SpeakerTable) -> None:
    """Refuse what no enrolment can have written."""
    names, count = table.names, len(table.embeddings)
    if len(names) != count or any(len(c) != count for c in table.columns.values()):
        raise SVError(f"{path}: is damaged, its numbers of speakers differ")
    if len(set(names)) != count:
        raise SVError(f"{path}: is damaged, a speaker is in it twice")
    for name in names:
        try:
            check_name(name)
        except SVError as e:
            raise SVError(f"{path}: is damaged: {e}") from e
    good = np.isfinite(table.columns["magnitudes"]) & (table.columns["recordings"] > 0)
    for key in ("resultant", "seconds", "speech", "magnitudes"):
        good &= (table.columns[key] > 0) & np.isfinite(table.columns[key])
    for start in range(0, count, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        rows = table.embeddings[part]
        # a NaN is not within any distance of 1
        good[part] &= abs(np.einsum("ij,ij->i", rows, rows) - 1) < _TOLERANCE
    if not good.all():
        name = names[int(np.argmin(good))]
        raise SVError(
            f"{path}: is damaged, the values of speaker {name} are impossible; take a"
            " copy of it, or enrol the speakers anew"
        )


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _text(archive: zipfile.ZipFile, name: str, most: int) -> str:
    return _array(archive, name, np.uint8, most).tobytes().decode()


def _array(archive: zipfile.ZipFile, name: str, kind: type, most: int) -> np.ndarray:
    """Read an array, whose header may promise no more than the file holds.

    Args:
        archive: The file.
        name: Name of the array.
        kind: Its type.
        most: Bytes in the file.

    Raises:
        ValueError: It has another type, shape or size.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
        raise ValueError(f"{name} is compressed or larger than the file")
    dimensions = 2 if name == "embeddings" else 1
    with archive.open(info) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is of another format")
        shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
        size = math.prod(shape) * np.dtype(kind).itemsize
        if found != kind or (fortran and dimensions > 1) or len(shape) != dimensions:
            raise ValueError(f"{name} has another type or shape")
        if min(shape) < 0 or size != info.file_size - stream.tell():
            raise ValueError(f"{name} has another size")
        array: np.ndarray = np.empty(shape, kind)
        flat = array.reshape(-1).view(np.uint8)
        done = 0
        # to the end, where its checksum is compared
        while block := stream.read(_BYTES_AT_ONCE):
            flat[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
        if done != size:
            raise ValueError(f"{name} is truncated")
    return array
