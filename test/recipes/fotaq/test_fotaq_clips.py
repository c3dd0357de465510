import pytest
from fotaq.archive import QueenArchive
from fotaq.clips import Clip, list_clips, read_dialogue, split_line

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


def test_every_voice_clip_has_its_character_and_text(queen_archive, queen):
    clips = list_clips(QueenArchive(queen.path))
    assert {clip.entry for clip in clips} == queen.seconds.keys()
    assert {clip.entry: clip.text for clip in clips if clip.text} == queen.texts
    assert {clip.character for clip in clips} == {"JOE", *queen_archive.CHARACTERS} - {
        queen_archive.SILENT
    }
    for clip in clips:
        joe = clip.entry.startswith("JOE") or clip.entry[6] == "J"
        assert (clip.character == "JOE") == joe
        assert clip.utt == f"{clip.character}-{clip.entry.removesuffix('.SB')}"
        if not joe:
            assert clip.character == queen_archive.CHARACTERS[int(clip.entry[:2]) - 2]
    assert clips == sorted(clips)


def test_texts_belong_to_the_parts_with_words(queen_archive, pack):
    lines = [
        (6, "*01One.*00*02Three."),
        (7, "*09" * 10 + "Eleven."),
        (8, "One.*00Two."),
        (9, "*00"),
    ]
    names = (
        "050006P2 050006P4 050007PB 050008P1 050008P2 050008P3 050009P1 05XXXXP1"
        " 05000FP1"
    )
    entries = {f"{name}.SB": b"" for name in names.split()}
    archive = pack({"BOB12.DOG": queen_archive.pack_dialogue(5, [], lines), **entries})
    assert list_clips(archive) == [
        Clip("BOB-050006P2", "050006P2.SB", "BOB", "One."),
        Clip("BOB-050006P4", "050006P4.SB", "BOB", "Three."),
        Clip("BOB-050007PB", "050007PB.SB", "BOB", "Eleven."),
        # a clip too many: nobody knows which it is
        *(Clip(f"BOB-050008P{n}", f"050008P{n}.SB", "BOB", "") for n in (1, 2, 3)),
        Clip("BOB-050009P1", "050009P1.SB", "BOB", ""),
        Clip("BOB-05000FP1", "05000FP1.SB", "BOB", ""),
        Clip("BOB-05XXXXP1", "05XXXXP1.SB", "BOB", ""),
    ]


def test_a_clip_of_no_talk_and_a_damaged_talk_are_named(queen_archive, pack):
    with pytest.raises(
        SVError, match=r"queen.1c: 770006P1.SB belongs to talk 77, which has no .DOG"
    ):
        list_clips(pack({"770006P1.SB": b"x"}))
    with pytest.raises(SVError, match=r"queen.1c: BOB1.DOG: is damaged"):
        list_clips(
            pack({"BOB1.DOG": queen_archive.pack_dialogue(5, [(1, "Hi.")], [])[:-30]})
        )
