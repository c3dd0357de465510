"""Lines that ESPnet prints on import and that no user can do anything about."""

import io
import sys
from typing import Any, TextIO

# ESPnet 202611 prints it wherever a Conformer is imported and flash_attn is not there
_NOTICE = "Failed to import Flash Attention"


class _WithoutNotice(io.TextIOBase):
    """Standard error without that line; everything else goes through."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self._dropped = False

    def write(self, text: str) -> int:
        if text.startswith(_NOTICE):
            self._dropped = not text.endswith("\n")
        elif self._dropped and text == "\n":  # print writes the end of a line last
            self._dropped = False
        else:
            self._dropped = False
            self.stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    # those that the base class has
    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.stream.flush()


def hide_notices() -> None:
    """Leave that line out of what this process prints to standard error."""
    if sys.stderr is not None and not isinstance(sys.stderr, _WithoutNotice):
        sys.stderr = _WithoutNotice(sys.stderr)
