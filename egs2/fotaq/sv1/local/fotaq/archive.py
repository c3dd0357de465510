"""Reading ``queen.1c``, the archive of all data of Flight of the Amazon Queen."""

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
    """Position of an entry in the archive, in bytes."""

    offset: int
    size: int


class QueenArchive:
    """Table of contents and entries of an archive.

    Attributes:
        path: Path of the file.
        entries: Entries by name, e.g. ``060006P1.SB`` (mp3) or ``BOB1.DOG``, in the
            order of the table.
    """

    def __init__(self, path: str | os.PathLike):
        """Read the table.

        Raises:
            SVError: The file is missing, truncated, not such an archive, or of another
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
                f"{self.path}: is truncated, it has {size:,} of {needed:,} bytes;"
                f" {_AGAIN}"
            )

    def read(self, name: str) -> bytes:
        """Return the content of an entry; SVError if there is none of that name."""
        if name not in self.entries:
            raise SVError(f"{self.path}: has no entry {name}; {_AGAIN}")
        return read_entry(self.path, self.entries[name])

    def sha256(self) -> str:
        """Return the checksum of the whole file, in hex."""
        with open(self.path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()

    def _check_header(self, head: bytes) -> int:
        """Return the number of entries."""
        magic, version, compression, entries = _HEADER.unpack(head)
        if head.startswith(_DEB_MAGIC):
            raise SVError(
                f"{self.path}: is a Debian package; give the queen.1c inside it"
            )
        if magic != _MAGIC:
            raise SVError(
                f"{self.path}: is not a queen.1c, it does not begin with QTBL; {_AGAIN}"
            )
        if version != _VERSION or compression != _MP3:
            found = version.rstrip(b"\0").decode("latin-1")
            raise SVError(
                f"{self.path}: is version {found} with compression {compression}, not"
                f" English with mp3 voices (CEM10, {_MP3}); use Debian's package"
            )
        end = _HEADER.size + entries * _ENTRY.size
        if os.path.getsize(self.path) < end:
            raise SVError(
                f"{self.path}: is truncated, its table alone ends at byte {end:,};"
                f" {_AGAIN}"
            )
        return entries


def read_entry(path: str | os.PathLike, entry: Entry) -> bytes:
    """Return the bytes of an entry of the archive ``path``."""
    with open(path, "rb") as f:
        f.seek(entry.offset)
        return f.read(entry.size)
