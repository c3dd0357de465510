"""Speaker and text of each voice clip, from the game's ``.DOG`` dialogue entries."""

import re
import struct
from collections import defaultdict
from typing import NamedTuple

from espnet2_sv.errors import SVError

from .archive import QueenArchive

HERO = "JOE"
_CLIP = ".SB"
# "060006P1.SB": talk 6, text id 0x0006, the other person (J is Joe), part 1 (A is 10).
# SSSS and XXXX are greetings, whose texts are not among the lines.
_SPOKEN = re.compile(
    r"(?P<talk>\d\d)(?P<text>[0-9A-F]{4}|SSSS|XXXX)(?P<who>[JP])(?P<part>[0-9A-Z])\.SB"
)
_REMARK = re.compile(r"JOE\d{5}\.SB")  # "JOE00011.SB": the hero looks at something
_DIALOGUE = re.compile(r"(?P<character>[A-Z]+)\d*\.DOG")  # "BOB1.DOG"

# Layout of a .DOG entry
_HEADER = 20  # bytes; the offsets below count from its end
_LEVELS, _LEVEL = 32, 96  # offset of the dialogue's levels, and size of one level
# maximum of levels, unique key, talk key, number of Joe's and of the person's lines
_NUMBERS = struct.Struct(">hhhhh")
# ends of Joe's and of the person's lines, and where these two numbers are
_OFFSETS, _OFFSETS_AT = struct.Struct(">HH"), 22
_LINE = struct.Struct(">HHB")  # unused, text id, length
_ALIGN = 4
# Animation commands split a line into parts: "Hi.*03Over here!" has two,
# "*01*01Hello." three
_COMMAND = re.compile(r"\*XY\d+\([\d ,-]*\)|\*..")  # "*XY00(237,112)", "*03", "*FL"


class Dialogue(NamedTuple):
    """Lines of one dialogue between Joe and another person.

    Attributes:
        talk_key: Number that the names of its clips begin with.
        joe: Joe's lines by text id.
        person: The other person's lines by text id.
    """

    talk_key: int
    joe: dict[int, str]
    person: dict[int, str]


def read_dialogue(data: bytes, name: str) -> Dialogue:
    """Parse a ``.DOG`` entry.

    Args:
        data: Content of the entry.
        name: Name of the entry, for messages.

    Raises:
        SVError: The entry is damaged: its lines do not end at the offsets it declares.
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
    """Split a line into its parts; part N is clip N, parts without words have none."""
    return [part.strip() for part in _COMMAND.split(line)]


def _read_lines(body: bytes, start: int, count: int) -> tuple[dict[int, str], int]:
    """Read lines by id, and where they end; the first line of an id counts."""
    lines: dict[int, str] = {}
    for _ in range(count):
        _, number, length = _LINE.unpack_from(body, start)
        start += _LINE.size
        if start + length > len(body):
            raise IndexError(f"a line at byte {start} exceeds the entry")
        lines.setdefault(number, body[start : start + length].decode("latin-1"))
        start += length + -(start + length) % _ALIGN
    return lines, start


class Clip(NamedTuple):
    """A recording of one character.

    Attributes:
        utt: Utterance id: character and entry, e.g. ``BOB-060006P1``.
        entry: Name in the archive.
        character: Character who speaks.
        text: Transcript as written in the game; empty if unknown.
    """

    utt: str
    entry: str
    character: str
    text: str


def list_clips(archive: QueenArchive) -> list[Clip]:
    """List all clips whose character is known, sorted by name.

    The parts of a line are the texts of its clips if there is exactly one clip for each
    part with words; otherwise none of the line's clips has a text.

    Raises:
        SVError: A dialogue is damaged, or a clip belongs to none.
    """
    talks: dict[int, tuple[str, Dialogue]] = {}
    for entry in archive.entries:
        if match := _DIALOGUE.fullmatch(entry):
            dialogue = read_dialogue(archive.read(entry), f"{archive.path}: {entry}")
            talks[dialogue.talk_key] = (match["character"], dialogue)
    clips, lines = [], defaultdict(dict)
    for entry in sorted(archive.entries):
        if _REMARK.fullmatch(entry):
            clips.append(_clip(entry, HERO))
        elif match := _SPOKEN.fullmatch(entry):
            talk = int(match["talk"])
            if talk not in talks:
                raise SVError(
                    f"{archive.path}: {entry} belongs to talk {talk}, which has no"
                    " .DOG entry"
                )
            lines[talk, match["text"], match["who"]][int(match["part"], 36)] = entry
    for (talk, text, who), parts in lines.items():
        character, dialogue = talks[talk]
        said = _texts(dialogue.joe if who == "J" else dialogue.person, text, parts)
        clips += [
            _clip(e, HERO if who == "J" else character, said[n])
            for n, e in parts.items()
        ]
    return sorted(clips)


def _texts(lines: dict[int, str], text: str, parts: dict[int, str]) -> dict[int, str]:
    line = "" if text in ("SSSS", "XXXX") else lines.get(int(text, 16), "")
    spoken = {n: part for n, part in enumerate(split_line(line), 1) if part}
    return spoken if spoken.keys() == parts.keys() else dict.fromkeys(parts, "")


def _clip(entry: str, character: str, text: str = "") -> Clip:
    return Clip(f"{character}-{entry.removesuffix(_CLIP)}", entry, character, text)
