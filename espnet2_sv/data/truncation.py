"""Telling from a file's outer structure that its end is missing, without decoding it."""

from typing import BinaryIO

# sizes that programs write into a wav header when they do not know the length yet
_STREAMED = 0x7FFF0000
_MAX_BOXES = 1000  # of an mp4; whole files have a handful


def missing_bytes(path: str) -> int:
    """Bytes that a wav or mp4 (m4a) file's structure promises and the file does not hold.

    Decoders read such files without complaint, as shorter ones. 0 for other kinds of
    files.
    """
    with open(path, "rb") as f:
        size = f.seek(0, 2)
        f.seek(0)
        head = f.read(12)
        if head[:4] == b"RIFF":
            return _missing_of_wav(f, size)
        return _missing_of_mp4(f, size) if head[4:8] == b"ftyp" else 0


def _missing_of_wav(f: BinaryIO, size: int) -> int:
    position = 12  # after RIFF, size, WAVE
    while position + 8 <= size:
        f.seek(position)
        name, length = f.read(4), int.from_bytes(f.read(4), "little")
        position += 8
        if name == b"data":
            return max(position + length - size, 0) if length < _STREAMED else 0
        position += length + length % 2
    return 0


def _missing_of_mp4(f: BinaryIO, size: int) -> int:
    """Go from box to box; each begins with its length and four letters."""
    position = 0
    for _ in range(_MAX_BOXES):
        if position >= size:
            break
        f.seek(position)
        length = int.from_bytes(f.read(4), "big")
        if length == 1:  # the length follows, in eight bytes
            f.seek(4, 1)
            length = int.from_bytes(f.read(8), "big")
        if length < 8:  # 0: to the end of the file
            return 0
        position += length
    return max(position - size, 0)
