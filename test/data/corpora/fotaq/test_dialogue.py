import pytest

from espnet2_sv.data.corpora.fotaq.dialogue import read_dialogue, split_line
from espnet2_sv.errors import SVError

JOE = [(0, "*FR"), (6, "Hi.*03"), (0x12B6, "What is it?")]
PERSON = [(0, "0"), (6, "Oh,*01it's you!*00"), (7, ""), (6, "Said never.")]


@pytest.mark.parametrize("levels", [0, 1, -5, 17])
def test_lines_come_back_by_their_ids(queen_archive, levels):
    dialogue = read_dialogue(
        queen_archive.pack_dialogue(42, JOE, PERSON, levels), "X.DOG"
    )
    assert dialogue.talk_key == 42
    assert dialogue.joe == dict(JOE)
    assert dialogue.person == {
        0: "0",
        6: "Oh,*01it's you!*00",
        7: "",
    }  # the first of two with an id


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("Who?", ["Who?"]),
        ("Howdy Bob.*02", ["Howdy Bob.", ""]),
        ("*FLNo!*05Now go.*02", ["", "No!", "Now go.", ""]),
        ("*01*01Ooop oop!", ["", "", "Ooop oop!"]),
        ("*XY00(128,112)*FLOut of my kitchen!", ["", "", "Out of my kitchen!"]),
        ("Now beat it!*00*XY00(237, 112)*FL", ["Now beat it!", "", "", ""]),
        ('*07*WT"Mating Habits" *08', ["", "", '"Mating Habits"', ""]),
    ],
)
def test_a_line_is_cut_at_its_commands(line, parts):
    assert split_line(line) == parts


def test_a_damaged_entry_is_named(queen_archive):
    data = queen_archive.pack_dialogue(42, JOE, PERSON)
    shifted = bytearray(data)
    shifted[20 + 32 + 96 * 2 + 4] += 4  # a line's length
    for bad in (b"", data[:50], data[:300], data[:-40], bytes(shifted)):
        with pytest.raises(
            SVError, match=r"^BOB1.DOG: is damaged.*fetch queen.1c again"
        ):
            read_dialogue(bad, "BOB1.DOG")
