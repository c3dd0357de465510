import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import (
    read_joined,
    read_trials,
    require_unseen,
    speakers_of,
)

UTT2SPK = {"a1": "ann", "a2": "ann", "b1": "bob", "model-ann": "ann"}


def test_both_sides_share_one_numbering(folder):
    trials = read_trials(folder.text("t", "model-ann a1 target", "b1 a2 nontarget"))
    speakers = speakers_of(trials, UTT2SPK)
    assert (
        speakers.enroll[0] == speakers.test[0] == speakers.test[1] != speakers.enroll[1]
    )
    assert speakers.count == 2
    assert speakers[[1]].enroll.tolist() == [speakers.enroll[1]]


@pytest.mark.parametrize(
    "line, message",
    [
        ("a1 ghost target", "has no speaker for ghost, which t names"),
        (
            "a1 b1 target",
            "t: trial 2 is labelled target, but utt2spk says otherwise: 'a1 b1'",
        ),
        ("a1 a2 nontarget", "trial 2 is labelled nontarget"),
    ],
)
def test_refuses(folder, line, message):
    trials = read_trials(folder.text("t", "a2 a1 target", line))
    with pytest.raises(SVError, match=message):
        speakers_of(trials, UTT2SPK, "t")


def test_files_are_joined_unless_they_disagree(folder):
    one, two = (
        folder.text("one", "a1 ann", "b1 bob"),
        folder.text("two", "a1 ann", "a2 ann"),
    )
    assert read_joined([one, two]) == {"a1": "ann", "b1": "bob", "a2": "ann"}
    with pytest.raises(SVError, match="three: a1 has eve here and ann in another file"):
        read_joined([one, folder.text("three", "a1 eve")])


def test_trained_speakers_are_not_tested():
    require_unseen({"ann", "bob"}, {"x": "eve"}, "t")
    with pytest.raises(
        SVError, match="t: 1 of the tested speakers were trained on, as bob"
    ):
        require_unseen({"ann", "bob"}, {"x": "bob"}, "t")
