"""The one exception that users are meant to read."""

import math
from numbers import Integral, Real


class SVError(RuntimeError):
    """Bad input or a bad setting, told in one line.

    The message names the file, utterance or key that is wrong and says what to do about
    it. Command lines print it without a traceback and exit with status 1.
    """


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
