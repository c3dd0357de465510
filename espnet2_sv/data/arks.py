"""Kaldi archives (ark) of float vectors and matrices.

Archives are untrusted: an entry is ``path:offset`` and nothing else, so no command runs
and nothing is unpickled, and a record is a float vector or matrix in Kaldi's binary
format, for which there is room in the file and before which the ark has the utterance's
key. Format: Kaldi's ``matrix/kaldi-matrix.cc`` and ``matrix/compressed-matrix.cc``.
"""

import mmap
import os
import re
import stat
import struct
from collections.abc import Callable
from typing import IO

import numpy as np

from espnet2_sv.errors import SVError, printable

_PLAIN = {  # marker: value type, number of dimensions
    b"\0BFV ": ("<f4", 1),
    b"\0BDV ": ("<f8", 1),
    b"\0BFM ": ("<f4", 2),
    b"\0BDM ": ("<f8", 2),
}
_COMPRESSED = {  # marker: type of a value
    b"\0BCM ": "<u1",
    b"\0BCM2 ": "<u2",
    b"\0BCM3 ": "<u1",
}
_MARKER = re.compile(rb"\x00B(?:[FD][VM]|CM[23]?) ")  # "\0BFV "
_FLOAT_VECTOR = b"\0BFV \4"
_NOT_IN_KEYS = frozenset([*range(0x21), 0x7F])  # white space and control characters
_LONGEST_KEY = 1024
_INT32 = struct.Struct("<i")
_OTHER = "the record there is another utterance's"


class ArkReader:
    """Reads the records that a Kaldi ``scp`` points to.

    Each ark is mapped into memory once.

    Args:
        kind: What a record is, for messages, e.g. ``"embedding"``.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._arks: dict[str, memoryview] = {}
        self._ends: dict[str, set[int]] = {}
        self._doubtful: list[tuple[str, int, str, str, Callable[[], str]]] = []

    def read(self, utterance: str, entry: str, where: Callable[[], str]) -> np.ndarray:
        """Read one record.

        Args:
            utterance: Its key.
            entry: ``path:offset``.
            where: Returns the file and line of the entry, for messages.

        Returns:
            (E,) or (T, D), float32 or float64, not empty, read-only.

        Raises:
            SVError: It cannot be read, or belongs to another utterance.
        """
        try:
            path, colon, offset = entry.rpartition(":")
            if not colon or not offset.isascii() or not offset.isdigit():
                raise ValueError("expected ARK:OFFSET")
            start = int(offset)
            ark = self._arks.get(path)
            if ark is None:
                ark = self._map(path)
            if start >= len(ark):
                raise ValueError(f"the ark ends at byte {len(ark)}")
            ends = self._ends[path]
            key = utterance.encode() + b" "
            first = start - len(key)
            if first < 0 or ark[first:start] != key:
                raise ValueError(_OTHER)
            record, end = read_record(ark, start)
        except (OSError, ValueError) as e:
            raise self._error(utterance, entry, where(), e) from e
        if first not in ends and ark[first - 1] not in _NOT_IN_KEYS:
            self._doubtful.append((path, first, utterance, entry, where))
        ends.add(end)
        return record

    def finish(self) -> None:
        """Check the keys that could be the end of a longer one.

        Raises:
            SVError: A record belongs to another utterance.
        """
        walked: dict[str, tuple[set[int], int]] = {}
        for path, start, utterance, entry, where in self._doubtful:
            if start in self._ends[path]:
                continue
            if path not in walked:
                ends = record_ends(self._arks[path])
                walked[path] = ends, max(ends)
            ends, last = walked[path]
            if start not in ends and start < last:
                raise self._error(utterance, entry, where(), ValueError(_OTHER))
        self._doubtful = []

    def _map(self, path: str) -> memoryview:
        name = path.encode()  # Kaldi's files are UTF-8 in any locale
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a file")
        if not status.st_size:
            raise ValueError("the ark is empty")
        with open(name, "rb") as stream:
            ark = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        self._arks[path] = ark
        self._ends[path] = {0}
        return ark

    def _error(self, utterance, entry, where, error: Exception) -> SVError:
        reason = getattr(error, "strerror", None) or str(error)
        return SVError(
            f"{where}: the {self.kind} of {utterance} ({printable(entry, 300)})"
            f" cannot be read: {reason}; make it again"
        )


def read_record(ark: memoryview, start: int) -> tuple[np.ndarray, int]:
    """Read one record of an ark.

    Args:
        ark: The bytes of the ark.
        start: Position of the record, behind its key.

    Returns:
        The vector (E,) or matrix (T, D), float32 or float64, and the position behind
        the record.

    Raises:
        ValueError: There is no float vector or matrix, or it is cut or empty.
    """
    head = bytes(ark[start : start + 32])
    if head.startswith(_FLOAT_VECTOR) and len(head) >= 10:  # nearly all
        (size,) = _INT32.unpack_from(head, 6)
        return _array(ark, start + 10, "<f4", (size,))
    match = _MARKER.match(head)
    if not match:
        raise ValueError("there is no float vector or matrix in binary format")
    marker = match[0]
    head = head[len(marker) :]
    if marker in _COMPRESSED:
        return _read_compressed(ark, start + len(marker), marker, head)
    kind, dimensions = _PLAIN[marker]
    size = 5 * dimensions  # each is "\4" and an int32
    if len(head) < size:
        raise ValueError("the ark is cut")
    if any(head[i] != 4 for i in range(0, size, 5)):
        raise ValueError("the size of the record is not an int32")
    shape = tuple(
        struct.unpack_from("<i", head, 1 + 5 * i)[0] for i in range(dimensions)
    )
    return _array(ark, start + len(marker) + size, kind, shape)


def _array(
    ark: memoryview, start: int, kind: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, int]:
    """View an array in an ark; also return the position behind it."""
    if min(shape) <= 0:
        raise ValueError(f"its size is {' x '.join(map(str, shape))}")
    count = shape[0] if len(shape) == 1 else shape[0] * shape[1]
    end = start + count * int(kind[2])
    if end > len(ark):
        raise ValueError(
            f"the ark is cut: it ends at byte {len(ark)}, the record at {end}"
        )
    values = np.frombuffer(ark, kind, count, start)
    return (values if len(shape) == 1 else values.reshape(shape)), end


def _read_compressed(
    ark: memoryview, start: int, marker: bytes, head: bytes
) -> tuple[np.ndarray, int]:
    """Read a compressed matrix (T, D) as float32."""
    if len(head) < 16:
        raise ValueError("the ark is cut")
    smallest, spread, rows, columns = struct.unpack_from("<ffii", head)
    smallest, spread = np.float32(smallest), np.float32(spread)
    start += 16
    kind = _COMPRESSED[marker]
    with np.errstate(all="ignore"):  # the caller checks the values
        if marker != b"\0BCM ":  # one scale for the whole matrix
            values, end = _array(ark, start, kind, (rows, columns))
            most = np.float32(np.iinfo(kind).max)
            return smallest + values.astype(np.float32) * spread / most, end
        # each column has a quarter of its values between two of four percentiles
        points, start = _array(ark, start, "<u2", (columns, 4))
        values, end = _array(ark, start, kind, (columns, rows))
        points = smallest + points.astype(np.float32) * spread / np.float32(65535)
        p0, p25, p75, p100 = (points[:, i, None] for i in range(4))
        x = values.astype(np.float32)
        low = p0 + (p25 - p0) * x * np.float32(1 / 64)
        middle = p25 + (p75 - p25) * (x - 64) * np.float32(1 / 128)
        high = p75 + (p100 - p75) * (x - 192) * np.float32(1 / 63)
        return np.where(x <= 64, low, np.where(x <= 192, middle, high)).T, end


def record_ends(ark: memoryview) -> set[int]:
    """Return where the records of an ark end, up to the first that cannot be read.

    Args:
        ark: The bytes of the ark.
    """
    ends, position = {0}, 0
    while position < len(ark):
        head = bytes(ark[position : position + _LONGEST_KEY])
        start = head.find(b" ") + 1
        if start == 0:
            break
        try:
            if head.startswith(_FLOAT_VECTOR, start):  # nearly all
                (size,) = _INT32.unpack_from(head, start + 6)
                if size <= 0:
                    break
                position += start + 10 + 4 * size
            else:
                position = read_record(ark, position + start)[1]
        except (ValueError, struct.error):
            break
        ends.add(position)
    return ends


def write_record(stream: IO[bytes], utterance: str, array: np.ndarray) -> int:
    """Append a record to an ark.

    Args:
        stream: The ark, at its end.
        utterance: Its key.
        array: (E,) or (T, D); written as float32.

    Returns:
        The offset for the ``scp``.
    """
    stream.write(utterance.encode() + b" ")
    offset = stream.tell()
    marker = b"\0BFV " if array.ndim == 1 else b"\0BFM "
    sizes = b"".join(b"\4" + struct.pack("<i", size) for size in array.shape)
    stream.write(marker + sizes + array.astype("<f4").tobytes())
    return offset
