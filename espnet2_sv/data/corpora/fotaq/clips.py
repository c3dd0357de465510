"""Who says what in which clip."""

import re
from collections import defaultdict
from typing import NamedTuple

from espnet2_sv.data.corpora.fotaq.archive import QueenArchive
from espnet2_sv.data.corpora.fotaq.dialogue import Dialogue, read_dialogue, split_line
from espnet2_sv.errors import SVError

HERO = "JOE"
_CLIP = ".SB"
# "060006P1.SB": talk 6, text 0x0006, the person, part 1 (A is 10); SSSS and XXXX are
# greetings, whose texts are not among the lines
_SPOKEN = re.compile(
    rf"(?P<talk>\d\d)(?P<text>[0-9A-F]{{4}}|SSSS|XXXX)(?P<who>[JP])(?P<part>[0-9A-Z])\{_CLIP}"
)
_REMARK = re.compile(
    rf"JOE\d{{5}}\{_CLIP}"
)  # "JOE00011.SB": the hero looks at something
_DIALOGUE = re.compile(r"(?P<character>[A-Z]+)\d*\.DOG")  # "BOB1.DOG"


class Clip(NamedTuple):
    """A recording of one character.

    Attributes:
        utt: Its name: character and entry, e.g. ``BOB-060006P1``.
        entry: Its name in the archive.
        character: Who speaks.
        text: What is said, as written in the game; empty where that is not known.
    """

    utt: str
    entry: str
    character: str
    text: str


def list_clips(archive: QueenArchive) -> list[Clip]:
    """List all clips whose character is known, in the order of their names.

    A line's parts are the texts of its clips if there is a clip for each part with
    words, and no other; where they do not agree, none of the line's clips has a text.

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
                    f"{archive.path}: {entry} is of talk {talk}, which has no .DOG"
                    " entry"
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
