import dataclasses

import pytest

from espnet2_sv.data.corpora.voxceleb.plan import Plan
from espnet2_sv.data.corpora.voxceleb.training_speakers import (
    add_extra,
    hold_out_speakers,
    read_extra,
)
from espnet2_sv.data.kaldi import write_two_column
from espnet2_sv.errors import SVError

CORPUS = {f"id{i:05d}": [(f"u{i}", ""), (f"v{i}", "")] for i in range(40)}
PLAN = Plan(valid_speakers=5, calib_speakers=8)


def test_sets_are_disjoint_seeded_and_sorted():
    held_out = hold_out_speakers(CORPUS, PLAN)
    assert {kind: len(speakers) for kind, speakers in held_out.items()} == {
        "valid": 5,
        "calib": 8,
    }
    assert not set(held_out["valid"]) & set(held_out["calib"])
    assert held_out["valid"] == sorted(held_out["valid"])
    assert hold_out_speakers(dict(reversed(CORPUS.items())), PLAN) == held_out
    assert hold_out_speakers(CORPUS, dataclasses.replace(PLAN, seed=1)) != held_out


def test_speakers_without_a_target_trial_stay_in_training():
    single = CORPUS | {s: utts[:1] for s, utts in list(CORPUS.items())[:30]}
    chosen = hold_out_speakers(single, dataclasses.replace(PLAN, calib_speakers=5))
    assert set(chosen["valid"] + chosen["calib"]) == set(list(CORPUS)[30:])


def test_lists_are_taken_as_they_are(tmp_path):
    (tmp_path / "valid_speakers").write_text("id00009\nid00003\n")
    (tmp_path / "calib_speakers").write_text("id00001\nid00002\n")
    plan = dataclasses.replace(PLAN, held_out=str(tmp_path))
    expected = {"valid": ["id00003", "id00009"], "calib": ["id00001", "id00002"]}
    assert hold_out_speakers(CORPUS, plan) == expected
    (tmp_path / "valid_speakers").write_text("id00009\nid00002\n")
    with pytest.raises(SVError, match="speakers are in both lists: id00002"):
        hold_out_speakers(CORPUS, plan)
    (tmp_path / "valid_speakers").write_text("id00009\nnobody\n")
    with pytest.raises(
        SVError, match=r"valid_speakers: 1 speakers do not have two .*: nobody"
    ):
        hold_out_speakers(CORPUS, plan)
    (tmp_path / "valid_speakers").unlink()
    with pytest.raises(SVError, match=r"valid_speakers: cannot be read .*--held_out"):
        hold_out_speakers(CORPUS, plan)


@pytest.mark.parametrize(("valid", "calib"), [(1, 5), (5, 0), (20, 19), (30, 30)])
def test_sets_too_small_for_trials_or_training_are_refused(valid, calib):
    plan = Plan(valid_speakers=valid, calib_speakers=calib)
    with pytest.raises(
        SVError, match=r"of 40 speakers, .*change --valid_speakers and --calib"
    ):
        hold_out_speakers(CORPUS, plan)


@pytest.fixture
def kaldi_dir(tmp_path):
    write_two_column(
        tmp_path / "k/wav.scp", {"a-1": "/x/1.wav", "a-2": "x.ark:5", "b-1": "1.wav"}
    )
    write_two_column(tmp_path / "k/utt2spk", {"a-1": "a", "a-2": "a", "b-1": "b"})
    return tmp_path / "k"


def test_a_data_directory_is_taken_as_it_is(kaldi_dir):
    assert read_extra(kaldi_dir) == {
        "a": [("a-1", "/x/1.wav"), ("a-2", "x.ark:5")],
        "b": [("b-1", "1.wav")],
    }
    assert read_extra(kaldi_dir, "vb-")["vb-b"] == [("vb-b-1", "1.wav")]


def test_a_tree_of_speakers_is_listed(tmp_path):
    for name in ("s1/v/1.flac", "s1/w/1.m4a", "s2/v/1.wav", "s3/v/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    extra = read_extra(tmp_path, "x-")
    assert {s: [utt for utt, _ in utts] for s, utts in extra.items()} == {
        "x-s1": ["x-s1-v-1", "x-s1-w-1"],
        "x-s2": ["x-s2-v-1"],
    }


def test_names_of_other_speakers_are_refused():
    corpus = {"a": [("a-1", "1.wav")], "b": [("b-1", "2.wav")]}
    extra = {"c": [("c-1", "3.wav")]}
    assert add_extra(corpus, extra, "dir") == corpus | extra
    with pytest.raises(
        SVError, match=r"^dir: speakers have the same names as VoxCeleb's: b; .*_prefix"
    ):
        add_extra(corpus, {"b": [("b-9", "3.wav")]}, "dir")
    with pytest.raises(
        SVError,
        match=r"^dir: utterances have the same names as VoxCeleb's: a-1; .*_prefix",
    ):
        add_extra(corpus, {"d": [("a-1", "3.wav")]}, "dir")


def test_what_cannot_be_used_is_reported(kaldi_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SVError, match=r"empty: has neither a wav\.scp nor"):
        read_extra(tmp_path / "empty")
    (kaldi_dir / "segments").touch()
    with pytest.raises(
        SVError, match="segments: cut the recordings with sv_format_wav first"
    ):
        read_extra(kaldi_dir)
    (kaldi_dir / "segments").unlink()
    write_two_column(kaldi_dir / "utt2spk", {"a-1": "a", "a-2": "a", "z-1": "b"})
    with pytest.raises(
        SVError, match=r"utterances are in one of wav\.scp and utt2spk only: b-1, z-1"
    ):
        read_extra(kaldi_dir)
