import logging

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import (
    align_scores,
    read_scores,
    read_trials,
    write_scores,
)

LINES = ("a x target", "b y nontarget", "a y nontarget")


@pytest.fixture
def trials(folder):
    return read_trials(folder.text("trials", *LINES))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_written_is_read(folder, trials, kind):
    scores = np.array([0.1, -1e-7, 123456.789], kind)
    path = folder.root / "scores"
    write_scores(path, trials, scores)
    lines = path.read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [line.split()[:2] for line in LINES]
    found = read_scores(path)
    assert (found.scores.astype(kind) == scores).all()
    assert found.enroll.tolist() == trials.enroll.tolist()


def test_order_does_not_matter(folder, trials, caplog):
    path = folder.text("scores", "a y 3", "q q 9", "b y 2", "a x 1", "b x 8")
    with caplog.at_level(logging.WARNING):
        assert align_scores(trials, read_scores(path), path).tolist() == [1, 2, 3]
    assert "2 scores are of no trial" in caplog.text


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
def test_refuses(folder, trials, lines, message):
    with pytest.raises(SVError) as error:
        align_scores(trials, read_scores(folder.text("scores", *lines)), "scores")
    assert message in str(error.value)
