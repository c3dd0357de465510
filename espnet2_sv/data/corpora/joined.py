"""Parts of a file that was cut in pieces, read as the one file that they were."""

import io
import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from espnet2_sv.errors import SVError

# the ending that split(1) gives, e.g. "aa" of vox2_dev_aac_partaa
_PART = re.compile(r".*part(?P<letters>[a-z]{2})")


def find_parts(folder: str | os.PathLike, stem: str) -> list[Path]:
    """Find ``STEMpartaa``, ``STEMpartab``, ... in a folder, in order.

    Returns:
        The parts; empty if there are none.

    Raises:
        SVError: One between others is missing, or has another size than the first.
            (Whether the last is there shows when the whole is read.)
    """
    parts = sorted(
        p for p in Path(folder).glob(f"{stem}part*") if _PART.fullmatch(p.name)
    )
    for number, part in enumerate(parts):
        expected = f"{stem}part{chr(97 + number // 26)}{chr(97 + number % 26)}"
        if part.name != expected:
            raise SVError(f"{part.with_name(expected)}: is missing; fetch it")
    sizes = [part.stat().st_size for part in parts]
    whole = max(sizes, default=0)
    for part, size in zip(parts[:-1], sizes[:-1], strict=True):
        if size != whole:
            raise SVError(
                f"{part}: is truncated, it has {size} bytes and the largest part"
                f" {whole}; fetch it again"
            )
    return parts


class JoinedFile(io.RawIOBase):
    """Several files as one, for reading at any place."""

    def __init__(self, paths: Sequence[str | os.PathLike]):
        """Open ``paths``, in their order."""
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115 (closed in close)
        sizes = [os.fstat(f.fileno()).st_size for f in self._files]
        self._starts = [0, *accumulate(sizes)]
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Position in the whole."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the whole."""
        origins = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self._starts[-1],
        }
        if (position := origins[whence] + offset) < 0:
            raise OSError("a position before the beginning")
        self._position = position
        return position

    def readinto(self, buffer) -> int:
        """Read up to the end of the part at the position; 0 at the end of the whole."""
        if self._position >= self._starts[-1]:
            return 0
        index = bisect_right(self._starts, self._position) - 1
        left = self._starts[index + 1] - self._position
        file = self._files[index]
        file.seek(self._position - self._starts[index])
        count = file.readinto(memoryview(buffer)[:left])
        self._position += count
        return count

    def close(self) -> None:
        """Close all parts."""
        for file in self._files:
            file.close()
        super().close()
