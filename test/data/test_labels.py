import numpy as np
import pytest

from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.data.table import KaldiTable
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
    with pytest.raises(SVError, match="speaker b has class 2 where 1 is due"):
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
