"""Text files from outside, read without trust: their bytes, their UTF-8, their numbers.

Kaldi files are UTF-8, whatever the locale.
"""

import math
import os
import re
import stat

from espnet2_sv.errors import SVError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# e.g. "-1", "0.5", ".5", "2.", "1e-3"; not "1_0", "nan", "0x1", "١"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)  # of at most 64 bits


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a file or a pipe.

    A pipe that nobody writes to is empty: it is not waited for.

    Raises:
        SVError: It cannot be read, is a folder or a device, or its name is impossible.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise SVError(f"{path}: is a folder; a file is expected")
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise SVError(f"{path}: is a device or a socket; a file is expected")
            os.set_blocking(descriptor, True)
            return stream.read()
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except ValueError as e:  # a NUL, or characters that no file name can have
        raise SVError(f"{os.fspath(path)!a}: is not the name of a file ({e})") from e


def read_text(path: str | os.PathLike) -> str:
    """Read UTF-8 text; ends of lines stay as they are.

    Raises:
        SVError: As of :func:`read_bytes` and :func:`decode`.
    """
    return decode(read_bytes(path), str(path))


def decode(text: bytes, name: str) -> str:
    """Decode UTF-8 text.

    Args:
        text: Content of a file.
        name: Its name in messages.

    Raises:
        SVError: It is not UTF-8, or begins with a byte order mark; names the line.
    """
    if text.startswith(BYTE_ORDER_MARK):
        raise SVError(
            f"{name}: line 1 starts with a byte order mark (U+FEFF); save the file as"
            " UTF-8 without it"
        )
    try:
        return text.decode()
    except UnicodeDecodeError as e:
        line = text.count(b"\n", 0, e.start) + 1
        raise SVError(f"{name}: line {line} is not UTF-8; convert the file") from e


def parse_float(text: str) -> float:
    """Convert a decimal number such as ``-1``, ``0.5`` or ``1e-3``.

    Raises:
        ValueError: It is anything else, not finite, or too large for a double.
    """
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]!a} is not a finite decimal number")
    return number


def parse_int(text: str) -> int:
    """Convert a whole number of at most 18 digits.

    Raises:
        ValueError: It is anything else.
    """
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text[:40]!a} is not a whole number")
    return int(text)
