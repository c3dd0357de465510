"""Make a small ``queen.1c``: the layout of the game's archive, with synthetic voices.

Written from a description of the format, independently of the tested code.
"""

import io
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

RATE = 11025
CHARACTERS = (
    *(
        "AND",
        "APE",
        "BOB",
        "BUD",
        "CHEF",
        "CHIEF",
        "DEATH",
        "DOG",
        "FAYE",
        "FRANK",
        "HENRY",
    ),
    *(
        "IAN",
        "JIM",
        "JOHN",
        "KLUNK",
        "LARIS",
        "LOLA",
        "LOU",
        "MAN",
        "NAOMI",
        "ORACLE",
        "PRIN",
    ),
    *("SEC", "SHOWERAM", "SPARKY", "TALLPYG", "TAM", "WEDGE", "WITCH", "ZOMBIE"),
)
SILENT = "TALLPYG"  # has a dialogue, but only Joe's clips
_WORDS = (
    "the",
    "plane",
    "jungle",
    "has",
    "crashed",
    "we",
    "must",
    "find",
    "our",
    "way",
    "again",
)
_LETTER = 0.065  # seconds
_PAUSE = 0.5


@dataclass
class Queen:
    """An archive and the facts about its clips.

    Attributes:
        path: Path of the archive.
        entries: Content by name.
        texts: Text of each clip that has one in the archive, by entry.
        seconds: Duration of each clip in seconds, by entry.
    """

    path: Path
    entries: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self) -> "Queen":
        self.path.write_bytes(pack_archive(self.entries))
        return self


def pack_archive(
    entries: dict[str, bytes], version: bytes = b"CEM10", compression: int = 1
) -> bytes:
    start = 15 + 21 * len(entries)
    table = b""
    for name, content in entries.items():
        table += (
            name.encode().ljust(12, b"\0")
            + b"\1"
            + struct.pack(">II", start, len(content))
        )
        start += len(content)
    head = b"QTBL" + version.ljust(6, b"\0") + b"\0\0" + bytes([compression])
    return head + struct.pack(">H", len(entries)) + table + b"".join(entries.values())


def pack_dialogue(
    talk_key: int,
    joe: list[tuple[int, str]],
    person: list[tuple[int, str]],
    levels: int = -2,
) -> bytes:
    start = 32 + 96 * abs(levels)
    middle = start + len(_pack_lines(joe, start))
    end = middle + len(_pack_lines(person, middle))
    head = struct.pack(">5h", levels, talk_key + 100, talk_key, len(joe), len(person))
    head = head.ljust(22, b"\0") + struct.pack(">HH", middle, end)
    body = (
        head.ljust(start, b"\7") + _pack_lines(joe, start) + _pack_lines(person, middle)
    )
    return b"AmBk" + bytes(16) + body + b"what follows"


def _pack_lines(lines: list[tuple[int, str]], start: int) -> bytes:
    packed = b""
    for number, text in lines:
        packed += b"\0\0" + struct.pack(">HB", number, len(text)) + text.encode()
        while (start + len(packed)) % 4:
            packed += b"\0"
    return packed


def encode(pitch: float, seconds: float, seed: int = 0) -> bytes:
    """A buzz as mp3 of constant bit rate without declared length, as in the game."""
    t = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    buzz = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 6))
    audio = io.BytesIO()
    speech = 0.1 * buzz + 0.01 * rng.standard_normal(len(t))
    smallest = {"bitrate_mode": "CONSTANT", "compression_level": 0.99}
    soundfile.write(audio, speech, RATE, format="MP3", **smallest)
    return audio.getvalue()


def make_queen(
    path: Path, lines: int = 9, remarks: int = 5, words: int = 12, seed: int = 0
) -> Queen:
    """Write an archive of all characters with ``lines`` lines each, and Joe's answers.

    Joe also makes ``remarks``. A clip has at most ``words`` words.
    """
    rng = random.Random(seed)
    queen = Queen(path)
    for talk, character in enumerate(CHARACTERS, 2):
        joe, person = [(0, "*FR")], [(0, "0")]
        for number in range(6, 6 + lines):
            if character != SILENT:
                person.append(
                    (number, _say(queen, talk, number, "P", 80 + 9 * talk, words, rng))
                )
            if number % 3 == 0:
                joe.append((number, _say(queen, talk, number, "J", 130, words, rng)))
        _add_clip(queen, f"{talk:02d}SSSSJ1.SB", 130, 1.1)
        entry = (
            f"{character}1.DOG" if len(character) < 8 else f"{character}.DOG"
        )  # 12 at most
        queen.entries[entry] = pack_dialogue(talk, joe, person)
    for number in range(1, remarks + 1):
        _add_clip(queen, f"JOE{number:04d}1.SB", 130, 2.2)
    queen.entries |= {"C12A_061.SB": b"of a cut scene", "FRONT.PCX": b"a picture"}
    return queen.write()


def _say(
    queen: Queen, talk: int, number: int, who: str, pitch: float, words: int, rng
) -> str:
    """Make a line of one to three parts, and the clips of those with words."""
    line, part = rng.choice(("", "*FL", "*01*XY00(128,112)")), 1
    part += line.count("*")
    for _ in range(rng.randint(1, 2)):
        said = " ".join(rng.choices(_WORDS, k=rng.randint(2, words))).capitalize() + "."
        name = f"{talk:02d}{number:04X}{who}{part}.SB"
        queen.texts[name] = said
        _add_clip(queen, name, pitch, _PAUSE + _LETTER * len(said))
        line += said + "*0" + str(rng.randint(0, 9))
        part += 1
    return line


def _add_clip(queen: Queen, name: str, pitch: float, seconds: float) -> None:
    queen.entries[name] = encode(pitch, seconds, seed=len(queen.entries))
    queen.seconds[name] = seconds
