import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.metrics import equal_error_rate, min_dcf
from espnet2_sv.scoring.roc import roc_points


def random_trials(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(rng.integers(5, 300)) < rng.uniform(0.1, 0.9)
    labels[:2] = True, False
    scores = rng.normal(size=len(labels)) + labels * rng.uniform(0, 4)
    return (np.round(scores, 1) if ties else scores), labels


def sklearn_eer(scores, labels):
    p_fa, p_hit, _ = roc_curve(labels, scores)
    return brentq(lambda x: 1 - x - interp1d(p_fa, p_hit)(x), 0, 1, xtol=1e-13)


def brute_force_dcf(scores, labels, p_target):
    thresholds = [*scores, np.inf]
    costs = [
        p_target * np.mean(scores[labels] < t)
        + (1 - p_target) * np.mean(scores[~labels] >= t)
        for t in thresholds
    ]
    return min(costs) / min(p_target, 1 - p_target)


def brute_force_hull_eer(scores, labels):
    """The EER of the hull is the minimum cost at the least favourable prior."""
    priors = np.linspace(0, 1, 2001)[:, None]
    roc = roc_points(scores, labels)
    return np.max(np.min(priors * roc.p_miss + (1 - priors) * roc.p_fa, axis=1))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_references(seed, ties):
    scores, labels = random_trials(seed, ties)
    found = equal_error_rate(scores, labels)
    assert found.eer == pytest.approx(sklearn_eer(scores, labels), abs=1e-10)
    assert found.eer_rocch == pytest.approx(
        brute_force_hull_eer(scores, labels), abs=1e-3
    )
    assert found.eer_rocch <= found.eer + 1e-12
    for p_target in (0.01, 0.05, 0.5, 0.9):
        cost, threshold = min_dcf(scores, labels, p_target)
        assert cost == pytest.approx(
            brute_force_dcf(scores, labels, p_target), abs=1e-12
        )
        at_threshold = p_target * np.mean(scores[labels] < threshold) + (
            1 - p_target
        ) * np.mean(scores[~labels] >= threshold)
        assert at_threshold / min(p_target, 1 - p_target) == pytest.approx(cost)


@pytest.mark.parametrize(
    "scores, labels, eer, cost",
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 0, 0),  # perfect
        ([4, 3, 2, 1], [0, 0, 1, 1], 1, 1),  # everything wrong
        ([5, 5, 5, 5], [0, 0, 1, 1], 0.5, 1),  # no discrimination
        ([1, 2, 3, 4, 9], [0, 1, 0, 0, 0], 0.75, 1),  # one target
        ([1, 9], [0, 1], 0, 0),  # two trials
        # At 3 one of three targets is missed and one of three nontargets accepted.
        ([1, 2, 5, 0, 1, 3], [1, 1, 1, 0, 0, 0], 1 / 3, 2 / 3),
    ],
)
def test_worked_by_hand(scores, labels, eer, cost):
    scores, labels = np.array(scores, float), np.array(labels, bool)
    assert equal_error_rate(scores, labels).eer == pytest.approx(eer)
    assert min_dcf(scores, labels, 0.01)[0] == pytest.approx(cost)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.booleans()), min_size=2, max_size=60
    ).filter(lambda rows: 0 < sum(label for _, label in rows) < len(rows))
)
def test_monotone_maps_change_nothing(rows):
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    for mapped in (3.0 * scores + 7, np.exp(scores / 10), np.cbrt(scores)):
        before, after = (
            equal_error_rate(scores, labels),
            equal_error_rate(mapped, labels),
        )
        assert before[:2] == pytest.approx(after[:2])
        assert min_dcf(scores, labels, 0.05)[0] == pytest.approx(
            min_dcf(mapped, labels, 0.05)[0]
        )


def test_threshold_gives_the_error_rate():
    scores, labels = random_trials(3, ties=False)
    scores, labels = (
        np.tile(scores, 20) + np.linspace(0, 1e-3, 20 * len(scores)),
        np.tile(labels, 20),
    )
    found = equal_error_rate(scores, labels)
    assert np.mean(scores[labels] < found.threshold) == pytest.approx(
        found.eer, abs=0.02
    )
    assert np.mean(scores[~labels] >= found.threshold) == pytest.approx(
        found.eer, abs=0.02
    )


@pytest.mark.parametrize(
    "scores, labels, message",
    [
        ([1.0, 2.0], [True, True], "2 target and 0 nontarget"),
        ([1.0, np.nan], [True, False], "NaN or Inf; the first is that of trial 2"),
        ([1.0, 2.0], [True], "one of each per trial"),
    ],
)
def test_refuses(scores, labels, message):
    with pytest.raises(SVError, match=message):
        equal_error_rate(np.array(scores), np.array(labels))


def test_refuses_impossible_priors():
    with pytest.raises(SVError, match="between 0 and 1"):
        min_dcf(np.arange(2.0), np.array([False, True]), 1.0)
