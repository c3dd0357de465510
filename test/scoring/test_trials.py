import logging

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import read_trials


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
    assert "1 lines repeat an earlier one, as 'a x'" in caplog.text
