import pytest

from espnet2_sv.data.segments import Piece, Utterances
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wav.scp").write_text("r1 /a.wav\nr2 cat b |\n")
    return tmp_path


def test_recordings_are_utterances_without_segments(folder):
    assert list(Utterances(folder)) == [Piece("r1", "/a.wav"), Piece("r2", "cat b |")]
    assert all(piece.whole for piece in Utterances(folder))


def test_segments_are_parts_of_recordings(folder):
    (folder / "segments").write_text("u1 r2 0.5 1.25\nu2 r1 3 -1\n")
    pieces = Utterances(folder)
    assert len(pieces) == 2
    assert pieces[0] == Piece("u1", "cat b |", 0.5, 1.25)
    assert pieces[1] == Piece("u2", "/a.wav", 3.0, float("inf"))
    assert not pieces[0].whole
    assert not pieces[1].whole


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1 r1 0.5", "utterance u1: write utterance, recording, start and end"),
        ("u1 r1 0 1 2", "utterance u1: write utterance, recording, start and end"),
        ("u1 r1 zero 1", "utterance u1: write utterance, recording, start and end"),
        ("u1 r1 2 2", "utterance u1: goes from 2.0 s to 2.0 s"),
        ("u1 r1 -2 2", "utterance u1: goes from -2.0 s to 2.0 s"),
        ("u1 r1 nan 2", "utterance u1: write utterance, recording, start and end"),
        ("u1 r1 0 1_0", "utterance u1: write utterance, recording, start and end"),
        ("u1 r1 0 1e400", "utterance u1: write utterance, recording, start and end"),
        ("u1 r9 0 1", "utterance u1: recording r9 is not in .*wav.scp"),
    ],
)
def test_bad_segments_are_named(folder, line, message):
    (folder / "segments").write_text(line + "\n")
    with pytest.raises(SVError, match=message):
        Utterances(folder)[0]


def test_segments_past_the_end_are_reported(folder):
    (folder / "segments").write_text(
        "u1 r1 0 1.4\nu2 r1 0.5 1.6\nu3 r1 1.2 1.3\nu4 r1 1 -1\nu5 r2 0 9\nu6 r9 0 1\n"
    )
    report = ValidationReport()
    Utterances(folder).check_ends({"r1": 1.0}, report)
    lines = list(report.problems())
    assert [line.split(": ")[1] for line in lines] == [
        f"utterance {utt}" for utt in ("u2", "u3", "u4")
    ]
    assert "lasts 1.00 s, but the segment ends at 1.60 s" in lines[0]
    assert "lasts 1.00 s, but the segment starts at 1.20 s" in lines[1]
