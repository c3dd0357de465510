import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.bootstrap import (
    WeightedRoc,
    bootstrap,
    draw_speakers,
    draw_trials,
)
from espnet2_sv.scoring.intervals import interval
from espnet2_sv.scoring.metrics import equal_error_rate, min_dcf
from espnet2_sv.scoring.trials import Speakers

pytestmark = pytest.mark.execution_timeout(200)


def simulate(
    rng: np.random.Generator, speakers: int, utterances: int, n_nontarget: int
):
    """Speakers with different within-speaker variance; all targets, some nontargets."""
    centres = rng.normal(size=(speakers, 1, 12))
    spread = 0.6 * np.exp(0.3 * rng.normal(size=(speakers, 1, 1)))
    vectors = (centres + spread * rng.normal(size=(speakers, utterances, 12))).reshape(
        -1, 12
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    of = np.repeat(np.arange(speakers), utterances)
    i, j = np.triu_indices(len(of), 1)
    labels = of[i] == of[j]
    keep = labels | (rng.random(len(labels)) < n_nontarget / (~labels).sum())
    i, j = i[keep], j[keep]
    scores = np.einsum("ij,ij->i", vectors[i], vectors[j])
    return scores, labels[keep], Speakers(of[i], of[j], speakers)


@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_repeated_trials(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random(60) < 0.5
    scores = np.round(rng.normal(size=60) + labels, 1)
    times = rng.integers(0, 4, 60)
    found = WeightedRoc(scores, labels, [0.05, 0.5])(times[labels], times[~labels])
    scores, labels = np.repeat(scores, times), np.repeat(labels, times)
    expected = [
        equal_error_rate(scores, labels).eer,
        *(min_dcf(scores, labels, p)[0] for p in (0.05, 0.5)),
    ]
    assert found == pytest.approx(expected)


def test_speakers_are_drawn_with_all_their_trials():
    enroll, test = np.array([0, 1, 0, 2, 3]), np.array([0, 1, 1, 4, 4])
    labels = enroll == test
    draw = draw_speakers(Speakers(enroll, test, 5), labels)
    totals = np.zeros(2)
    for seed in range(3000):
        target, nontarget = draw(np.random.default_rng(seed))
        assert (
            nontarget[0] == target[0] * target[1]
        )  # times that speakers 0 and 1 are drawn
        totals += [target[0], nontarget[1]]
    assert totals / 3000 == pytest.approx([1, 0.8], abs=0.08)  # n * 1/n, and (n-1)/n


def test_trials_are_drawn_within_their_class():
    labels = np.arange(10) < 4
    target, nontarget = draw_trials(labels)(np.random.default_rng(0))
    assert (target.sum(), nontarget.sum()) == (4, 6)


def test_systems_share_samples_that_depend_on_the_seed():
    scores, labels, speakers = simulate(np.random.default_rng(0), 8, 4, 200)
    system = WeightedRoc(scores, labels, [0.05])
    draw = draw_speakers(speakers, labels)
    values = bootstrap([system, system], draw, 20, seed=1)
    assert (values[:, 0] == values[:, 1]).all()
    assert (values == bootstrap([system, system], draw, 20, seed=1)).all()
    assert (values != bootstrap([system, system], draw, 20, seed=2)).any()
    assert len(np.unique(values[:, 0, 0])) > 10


def test_intervals_cover_the_truth():
    """95 % intervals from 40 speakers cover the true rates 90 to 99 % of the time."""
    rng = np.random.default_rng(0)
    truth = np.mean(
        [
            WeightedRoc(s, y, [0.05])(np.ones(y.sum()), np.ones((~y).sum()))
            for s, y, _ in (simulate(rng, 400, 5, 40_000) for _ in range(8))
        ],
        axis=0,
    )
    covered = []
    for seed in range(200):
        scores, labels, speakers = simulate(rng, 40, 5, 1500)
        system = WeightedRoc(scores, labels, [0.05])
        values = bootstrap([system], draw_speakers(speakers, labels), 100, seed)[:, 0]
        estimate = system(np.ones(labels.sum()), np.ones((~labels).sum()))
        low, high = interval(estimate, values, 40, 0.5 / len(labels))
        assert (low <= estimate).all()
        assert (estimate <= high).all()
        covered.append((low <= truth) & (truth <= high))
    coverage = np.mean(covered, axis=0)
    assert (coverage >= 0.90).all(), coverage
    assert (coverage <= 0.99).all(), coverage


def test_too_few_speakers_are_refused():
    labels = np.array([True, False])
    with pytest.raises(SVError, match="2 speakers; intervals need at least 5"):
        draw_speakers(Speakers(np.array([0, 0]), np.array([0, 1]), 2), labels)


def test_resamplings_without_a_class_are_refused():
    """One speaker has targets and one pair has nontargets: both are rarely drawn."""
    enroll, test = np.array([0, 1]), np.array([0, 2])
    labels = enroll == test
    draw = draw_speakers(Speakers(enroll, test, 5), labels)

    def never(rng):
        return np.zeros(1), draw(rng)[1]

    with pytest.raises(SVError, match="too few speakers"):
        bootstrap([WeightedRoc(np.arange(2.0), labels, [])], never, 3, seed=0)
