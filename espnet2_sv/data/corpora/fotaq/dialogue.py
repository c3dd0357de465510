"""Reading ``.DOG`` entries: what Joe and another person say to each other."""

import re
import struct
from typing import NamedTuple

from espnet2_sv.errors import SVError

_HEADER = 20  # bytes before all that is counted below
_LEVELS, _LEVEL = 32, 96  # where the levels of a dialogue begin, and the size of one
_NUMBERS = struct.Struct(
    ">hhhhh"
)  # level maximum, unique key, talk key, Joe's lines, person's
_OFFSETS, _OFFSETS_AT = (
    struct.Struct(">HH"),
    22,
)  # of the person's lines, and of what follows
_LINE = struct.Struct(">HHB")  # unused, text id, length
_ALIGN = 4
# Commands for the picture cut a line into parts: "Hi.*03Over here!" has two,
# "*01*01Hello." three
_COMMAND = re.compile(r"\*XY\d+\([\d ,-]*\)|\*..")  # "*XY00(237,112)", "*03", "*FL"


class Dialogue(NamedTuple):
    """The lines of one talk.

    Attributes:
        talk_key: Number that its clips' names begin with.
        joe: Joe's lines by text id.
        person: The other person's.
    """

    talk_key: int
    joe: dict[int, str]
    person: dict[int, str]


def read_dialogue(data: bytes, name: str) -> Dialogue:
    """Parse an entry.

    Args:
        data: Its content.
        name: For messages.

    Raises:
        SVError: The entry is damaged: its lines do not end where its offsets say.
    """
    body = data[_HEADER:]
    try:
        levels, _, talk_key, joe_lines, person_lines = _NUMBERS.unpack_from(body)
        middle, end = _OFFSETS.unpack_from(body, _OFFSETS_AT)
        joe, joe_end = _read_lines(body, _LEVELS + _LEVEL * abs(levels), joe_lines)
        person, person_end = _read_lines(body, middle, person_lines)
    except (struct.error, IndexError) as e:
        raise SVError(f"{name}: is damaged ({e}); fetch queen.1c again") from e
    if (joe_end, person_end) != (middle, end):
        raise SVError(
            f"{name}: is damaged, its lines end at bytes {joe_end} and {person_end},"
            f" not at {middle} and {end}; fetch queen.1c again"
        )
    return Dialogue(talk_key, joe, person)


def split_line(line: str) -> list[str]:
    """The parts of a line, in order; clip N says part N, and parts without words have none."""
    return [part.strip() for part in _COMMAND.split(line)]


def _read_lines(body: bytes, start: int, count: int) -> tuple[dict[int, str], int]:
    """Lines by their ids, and where they end; of two with one id the game says the first."""
    lines: dict[int, str] = {}
    for _ in range(count):
        _, number, length = _LINE.unpack_from(body, start)
        start += _LINE.size
        if start + length > len(body):
            raise IndexError(f"a line at byte {start} goes beyond the end")
        lines.setdefault(number, body[start : start + length].decode("latin-1"))
        start += length + -(start + length) % _ALIGN
    return lines, start
