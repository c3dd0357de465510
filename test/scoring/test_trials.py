import logging

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import (
    align_scores,
    read_joined,
    read_scores,
    read_trials,
    require_unseen,
    speakers_of,
    write_scores,
)


def test_reads_names_and_labels_in_order(folder):
    path = folder.text("trials", "a x target", "b y nontarget", "a y nontarget")
    trials = read_trials(path)
    assert trials.enroll.tolist() == ["a", "b", "a"]
    assert trials.test.tolist() == ["x", "y", "y"]
    assert trials.labels.tolist() == [True, False, False]


@pytest.mark.parametrize(
    "lines",
    [
        ("a\tx\ttarget", "b\ty\tnontarget"),
        ("a  x   target ", " b y nontarget"),
        ("a x target\r", "b y nontarget\r"),
        ("a x target", "b y\tnontarget"),
    ],
)
def test_any_white_space_separates(folder, lines):
    trials = read_trials(folder.text("trials", *lines))
    assert (trials.enroll.tolist(), trials.test.tolist()) == (["a", "b"], ["x", "y"])


def test_names_are_taken_as_they_are(folder):
    lines = ("1 2 target", '"q NA nontarget', "null é nontarget", "1e3 nan target")
    trials = read_trials(folder.text("trials", *lines))
    assert trials.enroll.tolist() == ["1", '"q', "null", "1e3"]
    assert trials.test.tolist() == ["2", "NA", "é", "nan"]


def test_many_blocks_keep_one_numbering(folder):
    lines = [
        f"enrolled{i % 977:04d} tested{i // 977:04d} nontarget" for i in range(200_000)
    ]
    trials = read_trials(folder.text("trials", *lines))
    assert (len(trials.enroll_names), len(trials.test_names)) == (977, 205)
    for i in (0, 123_456, 199_999):
        assert lines[i] == f"{trials.enroll[i]} {trials.test[i]} nontarget"


@pytest.mark.parametrize(
    "line, message",
    [
        ("b y", "line 2 is 'b y', not 'enroll_utt test_utt target|nontarget'"),
        ("b y 1", "line 2"),
        ("b y target 3", "line 2"),
        ("b y Target", "line 2"),
        ("", "line 2"),
        ("b  target", "line 2"),
        (" y target", "line 2"),
    ],
)
def test_names_the_malformed_line(folder, line, message):
    with pytest.raises(SVError) as error:
        read_trials(folder.text("trials", "a x target", line, "c z nontarget"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_empty_files(folder):
    with pytest.raises(SVError, match=r"nothere: cannot be read \(No such file"):
        read_trials(folder.root / "nothere")
    with pytest.raises(SVError, match="is empty"):
        read_trials(folder.text("trials"))


def test_contradiction_stops(folder):
    with pytest.raises(SVError, match="'a x' is listed twice with different values"):
        read_trials(folder.text("trials", "a x target", "b x target", "a x nontarget"))


def test_repeats_count_and_are_reported(folder, caplog):
    with caplog.at_level(logging.WARNING):
        trials = read_trials(
            folder.text("trials", "a x target", "b x nontarget", "a x target")
        )
    assert trials.labels.sum() == 2
    assert "1 lines repeat an earlier one, e.g. 'a x'" in caplog.text


TRIALS = ("a x target", "b y nontarget", "a y nontarget")


@pytest.fixture
def trials(folder):
    return read_trials(folder.text("trials", *TRIALS))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_written_is_read(folder, trials, kind):
    scores = np.array([0.1, -1e-7, 123456.789], kind)
    path = folder.root / "scores"
    write_scores(path, trials, scores)
    lines = path.read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [line.split()[:2] for line in TRIALS]
    found = read_scores(path)
    assert (found.scores.astype(kind) == scores).all()
    assert found.enroll.tolist() == trials.enroll.tolist()


def test_order_does_not_matter(folder, trials, caplog):
    path = folder.text("scores", "a y 3", "q q 9", "b y 2", "a x 1", "b x 8")
    with caplog.at_level(logging.WARNING):
        assert align_scores(trials, read_scores(path), path).tolist() == [1, 2, 3]
    assert "2 scores belong to no trial" in caplog.text


@pytest.mark.parametrize(
    "lines, message",
    [
        (("a x 1", "b y 2"), "no score for the trial 'a y' (1 of 3"),
        (("a x 1", "y b 2", "a y 3"), "no score for the trial 'b y'"),
        (("a x 1", "b y nan", "a y 3"), "line 2"),
        (("a x 1", "b y -inf", "a y 3"), "line 2"),
        (
            ("a x 1", "b y much", "a y 3"),
            "line 2 is 'b y much', not 'enroll_utt test_utt score'",
        ),
        (("a x 1", "b y 2", "a x 3"), "'a x' is listed twice with different values"),
    ],
)
def test_refuses_scores(folder, trials, lines, message):
    with pytest.raises(SVError) as error:
        align_scores(trials, read_scores(folder.text("scores", *lines)), "scores")
    assert message in str(error.value)


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
        ("a1 ghost target", "has no speaker for ghost, which is in t"),
        (
            "a1 b1 target",
            "t: trial 2 is labelled target, which contradicts utt2spk: 'a1 b1'",
        ),
        ("a1 a2 nontarget", "trial 2 is labelled nontarget"),
    ],
)
def test_refuses_speakers(folder, line, message):
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
        SVError, match=r"t: 1 of the tested speakers are training speakers, e\.g\. bob"
    ):
        require_unseen({"ann", "bob"}, {"x": "bob"}, "t")
