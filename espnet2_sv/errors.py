"""The one exception that users are meant to read, and the line it is told in."""

import math
import os
from numbers import Integral, Real

# Errors that torch raises as RuntimeError, e.g. "[enforce fail at alloc_cpu.cpp:127]
# err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate ..."
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
# e.g. "PytorchStreamWriter failed writing file data/3: file write failed"
_NOT_WRITTEN = ("PytorchStreamWriter", "inline_container.cc", "unexpected pos")
# e.g. "unable to write to file </torch_123_4>: No space left on device (28)"
_FULL = "No space left on device"
# e.g. "DataLoader worker (pid 123) is killed by signal: Killed. "
_LOADER_DIED = "DataLoader worker"
_LONGEST = 5000  # characters of an error message, which may quote ids and paths


class SVError(RuntimeError):
    """Bad input or a bad setting, told in one line.

    The message names the file, utterance or key that is wrong and says what to do about
    it. Command lines print it without a traceback and exit with status 1.
    """


def describe_error(error: BaseException) -> str | None:
    """Return one line for an error that a user can do something about.

    Args:
        error: Any exception.

    Returns:
        The line, or None for an error of this program.
    """
    text = " ".join(str(error).split())
    if isinstance(error, SVError):
        return printable(text, _LONGEST)
    if isinstance(error, UnicodeEncodeError):  # of a name that is not UTF-8
        return f"{error.object[:_LONGEST]!a} is not UTF-8; rename it"
    if isinstance(error, MemoryError) or any(part in text for part in _OUT_OF_MEMORY):
        advice = "use smaller batches, fewer processes or a machine with more"
        return f"out of memory; {advice} ({text[:200] or 'no details'})"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{where}{error.strerror}"
    if isinstance(error, RuntimeError) and any(part in text for part in _NOT_WRITTEN):
        return f"weights cannot be written; is the disk full? ({text[:200]})"
    if isinstance(error, RuntimeError) and text.startswith(_LOADER_DIED):
        advice = "if memory or /dev/shm is full, lower --num_workers or --batch_size"
        return f"a process that loads audio died; {advice} ({text[:200]})"
    if isinstance(error, OSError | RuntimeError) and _FULL in text:
        return f"{_FULL}, or no shared memory ({text[:200]})"
    return None


def printable(text: str, longest: int = 100) -> str:
    """Return text from outside as one line of at most ``longest`` visible characters.

    What cannot be seen is escaped: control characters, and marks such as U+FEFF.
    """
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown
    )


def require_integer(name: str, value: object, least: int) -> None:
    """Raise SVError unless a setting is a whole number, ``least`` or more."""
    if not isinstance(value, Integral) or value < least:
        raise SVError(f"{name} is {value!r}; choose {least} or more")


def require_positive(name: str, value: object) -> None:
    """Raise SVError unless a setting is a finite number above 0."""
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise SVError(f"{name} is {value!r}; choose a number above 0")
