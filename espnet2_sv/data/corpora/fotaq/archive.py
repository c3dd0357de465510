"""Reading ``queen.1c``, the one file that holds all of the game's data."""

import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.errors import SVError

_MAGIC, _DEB_MAGIC = b"QTBL", b"!<arch>\n"
_VERSION = b"CEM10\0"  # the English one with voices
_MP3 = 1  # compression of the clips
_HEADER = struct.Struct(">4s6sxxBH")  # magic, version, compression, entries
_ENTRY = struct.Struct(">12sBII")  # name, bundle, offset, size
_AGAIN = "fetch the package flight-of-the-amazon-queen again"


class Entry(NamedTuple):
    """Where a part of the archive lies, in bytes."""

    offset: int
    size: int


class QueenArchive:
    """The archive's table of contents, and its parts.

    Attributes:
        path: The file.
        entries: By name, e.g. ``060006P1.SB`` (mp3) or ``BOB1.DOG``, in the order of
            the table.
    """

    def __init__(self, path: str | os.PathLike):
        """Read the table.

        Raises:
            SVError: The file is missing, no such archive, truncated, or of another
                version.
        """
        self.path = Path(path)
        try:
            with open(self.path, "rb") as f:
                size = os.fstat(f.fileno()).st_size
                head = f.read(_HEADER.size).ljust(_HEADER.size, b"\0")
                table = f.read(self._check_header(head) * _ENTRY.size)
        except OSError as e:
            raise SVError(
                f"{self.path}: cannot be read ({e.strerror}); give queen.1c"
            ) from e
        rows = [_ENTRY.unpack_from(table, i) for i in range(0, len(table), _ENTRY.size)]
        self.entries = {
            name.split(b"\0", 1)[0].decode("latin-1"): Entry(offset, length)
            for name, _, offset, length in rows
        }
        needed = max(
            (entry.offset + entry.size for entry in self.entries.values()), default=0
        )
        if needed > size:
            raise SVError(
                f"{self.path}: is truncated, {size:,} bytes of {needed:,} are there;"
                f" {_AGAIN}"
            )

    def read(self, name: str) -> bytes:
        """The content of an entry; one that is not there is an SVError."""
        if name not in self.entries:
            raise SVError(f"{self.path}: has no entry {name}; {_AGAIN}")
        return read_entry(self.path, self.entries[name])

    def sha256(self) -> str:
        """The checksum of the whole file, in hex."""
        with open(self.path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()

    def _check_header(self, head: bytes) -> int:
        """The number of entries."""
        magic, version, compression, entries = _HEADER.unpack(head)
        if head.startswith(_DEB_MAGIC):
            raise SVError(
                f"{self.path}: is a Debian package; give the queen.1c that it holds"
            )
        if magic != _MAGIC:
            raise SVError(
                f"{self.path}: is no queen.1c, it does not begin with QTBL; {_AGAIN}"
            )
        if version != _VERSION or compression != _MP3:
            found = version.rstrip(b"\0").decode("latin-1")
            raise SVError(
                f"{self.path}: is version {found} with compression {compression}, not"
                f" the English one with voices in mp3 (CEM10, {_MP3}); take Debian's"
            )
        end = _HEADER.size + entries * _ENTRY.size
        if os.path.getsize(self.path) < end:
            raise SVError(
                f"{self.path}: is truncated, its table alone goes to byte {end:,};"
                f" {_AGAIN}"
            )
        return entries


def read_entry(path: str | os.PathLike, entry: Entry) -> bytes:
    """Read a part of a file."""
    with open(path, "rb") as f:
        f.seek(entry.offset)
        return f.read(entry.size)
