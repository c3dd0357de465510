from fractions import Fraction

import numpy as np
import pytest

from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.errors import SVError


def test_classes_do_not_depend_on_the_order_of_lines(tmp_path):
    (tmp_path / "a").write_text("s2 u3\ns10 u1\ns1 u2\n")
    (tmp_path / "b").write_text("s1 u2\ns10 u1\ns2 u3\n")
    a = SpeakerLabels.from_spk2utt(tmp_path / "a")
    b = SpeakerLabels.from_spk2utt(tmp_path / "b")
    assert [a.index(s) for s in ("s1", "s10", "s2")] == [0, 1, 2]
    assert a.speakers == b.speakers
    assert a.sha256 == b.sha256


def test_a_map_survives_saving(tmp_path):
    labels = SpeakerLabels.from_names(["zoë", "amy", "bob"])
    labels.save(tmp_path / "spk2id")
    assert (tmp_path / "spk2id").read_text() == "amy 0\nbob 1\nzoë 2\n"
    again = SpeakerLabels.load(tmp_path / "spk2id")
    labels.require_same(again, "spk2id")
    assert again.sha256 == labels.sha256


@pytest.mark.parametrize("other", [["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"]])
def test_another_map_is_refused_with_its_place(other):
    labels = SpeakerLabels.from_names(["a", "b", "c"])
    with pytest.raises(SVError, match=r"^exp/spk2id: .*differ"):
        labels.require_same(SpeakerLabels.from_names(other), "exp/spk2id")


def test_another_order_is_refused():
    with pytest.raises(SVError, match="order differs"):
        SpeakerLabels(["a", "b"]).require_same(SpeakerLabels(["b", "a"]), "exp/spk2id")


def test_a_damaged_map_is_refused(tmp_path):
    (tmp_path / "spk2id").write_text("a 0\nb 2\n")
    with pytest.raises(SVError, match="speaker b has class 2 instead of 1"):
        SpeakerLabels.load(tmp_path / "spk2id")


def test_no_speakers_are_refused(tmp_path):
    (tmp_path / "spk2utt").write_text("")
    with pytest.raises(SVError, match="lists no speakers"):
        SpeakerLabels.from_spk2utt(tmp_path / "spk2utt")


def test_classes_of_many_utterances():
    labels = SpeakerLabels.from_names(["s1", "s2", "s3"])
    table = KaldiTable(b"u1 s3\nu2 s1\nu3 s3\nu4 nobody\n", "utt2spk")
    assert labels.classes_of(np.array([b"u3", b"u2"]), table).tolist() == [2, 0]
    with pytest.raises(SVError, match="utt2spk: utterance u9 has no speaker"):
        labels.classes_of(np.array([b"u1", b"u9"]), table)
    with pytest.raises(SVError, match="speaker nobody has no class"):
        labels.classes_of(np.array([b"u4"]), table)


def test_the_original_speed_comes_first_in_whatever_order_they_are_given():
    for factors in ([0.9, 1.0, 1.1], [1.1, 1, 0.9]):
        assert Speeds(factors).factors == (1, Fraction(9, 10), Fraction(11, 10))


def test_each_speed_of_a_speaker_is_a_class_of_its_own():
    speeds, speakers = Speeds([0.9, 1.0, 1.1]), SpeakerLabels(["amy", "bob"])
    classes = speeds.classes(speakers)
    assert classes.speakers == (
        "amy",
        "bob",
        "sp0.9-amy",
        "sp0.9-bob",
        "sp1.1-amy",
        "sp1.1-bob",
    )
    labels = speeds.labels(np.array([1, 0, 1], np.int32), 2)
    assert labels.tolist() == [1, 0, 1, 3, 2, 3, 5, 4, 5]
    assert labels.dtype == np.int32


def test_voxceleb2_has_17982_classes():
    speakers = SpeakerLabels.from_names(f"id{i:05d}" for i in range(5994))
    assert len(Speeds([0.9, 1.0, 1.1]).classes(speakers)) == 17982


def test_a_speaker_named_like_a_speed_of_another_is_refused():
    with pytest.raises(SVError, match="occurs twice"):
        Speeds([0.9, 1.0]).classes(SpeakerLabels(["amy", "sp0.9-amy"]))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([0.9, 1.1], r"1\.0 must be among them"),
        ([], r"1\.0 must be among them"),
        ([1.0, 1.0], "each speed once"),
        ([1.0, 0.0], r"0\.0 is not a speed from 0\.5 to 2\.0"),
        ([1.0, 3], "3 is not a speed"),
        ([1.0, 1 / 3], "at most 3 decimals"),
        ([1.0, float("nan")], "nan is not a"),
        ([1.0, "fast"], "'fast' is not a number"),
    ],
)
def test_bad_speeds_are_refused_with_the_value(factors, message):
    with pytest.raises(SVError, match=f"^speed_perturb_factors.*{message}"):
        Speeds(factors)
