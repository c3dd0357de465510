import dataclasses

import pytest

from espnet2_sv.data.corpora.held_out import hold_out_speakers
from espnet2_sv.data.corpora.plan import Plan
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
        SVError, match=r"valid_speakers: 1 speakers are not there .*: nobody"
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
