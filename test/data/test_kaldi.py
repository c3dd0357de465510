import pytest

from espnet2_sv.data.kaldi import (
    read_spk2utt,
    read_two_column,
    spk2utt_to_utt2spk,
    utt2spk_to_spk2utt,
    write_spk2utt,
    write_two_column,
)
from espnet2_sv.errors import SVError


def test_two_columns_come_back_sorted(tmp_path):
    write_two_column(tmp_path / "x", {"b": "2 3", "a": "1", "Z": "0"})
    assert (tmp_path / "x").read_text() == "Z 0\na 1\nb 2 3\n"
    assert read_two_column(tmp_path / "x") == {"Z": "0", "a": "1", "b": "2 3"}


def test_a_repeated_key_is_an_error(tmp_path):
    (tmp_path / "wav.scp").write_text("a 1\nb 2\na 3\n")
    with pytest.raises(SVError, match=r"wav.scp: key a appears more than once"):
        read_two_column(tmp_path / "wav.scp")


def test_spk2utt_and_utt2spk_are_inverse(tmp_path):
    utt2spk = {"s2-a": "s2", "s1-b": "s1", "s1-a": "s1"}
    spk2utt = utt2spk_to_spk2utt(utt2spk)
    assert spk2utt == {"s1": ["s1-a", "s1-b"], "s2": ["s2-a"]}
    assert spk2utt_to_utt2spk(spk2utt) == utt2spk
    write_spk2utt(tmp_path / "spk2utt", spk2utt)
    assert read_spk2utt(tmp_path / "spk2utt") == spk2utt


def test_an_utterance_of_two_speakers_is_an_error(tmp_path):
    (tmp_path / "spk2utt").write_text("s1 a b\ns2 b\n")
    with pytest.raises(
        SVError, match=r"spk2utt: utterance b is listed for speaker s1 and again"
    ):
        read_spk2utt(tmp_path / "spk2utt")
