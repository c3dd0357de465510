import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from espnet2_sv.scoring.metrics import (
    actual_dcf,
    bayes_threshold,
    cllr,
    min_cllr,
    min_dcf,
)
from espnet2_sv.scoring.roc import roc_points


def test_threshold_is_where_both_decisions_cost_the_same():
    assert bayes_threshold(0.5) == 0
    assert bayes_threshold(0.01) == pytest.approx(np.log(99))
    assert bayes_threshold(0.5, c_miss=10) == pytest.approx(-np.log(10))


def test_actual_dcf_worked_by_hand():
    llrs = np.array([5.0, 4.0, 0.0, 5.0])  # threshold for p = 0.01 is 4.6
    labels = np.array([True, True, False, False])
    assert actual_dcf(llrs, labels, 0.01) == pytest.approx(0.5 + 99 * 0.5)


def test_true_llrs_come_close_to_the_minimum():
    rng = np.random.default_rng(0)
    labels = rng.random(200_000) < 0.5
    llrs = rng.normal(np.where(labels, 4.0, -4.0), np.sqrt(8))  # variance = 2 * mean
    for p_target in (0.05, 0.5):
        least = min_dcf(llrs, labels, p_target)[0]
        assert least <= actual_dcf(llrs, labels, p_target) < least * 1.05


def test_uninformative_llrs_cost_one_bit():
    assert cllr(np.zeros(10), np.arange(10) < 3) == pytest.approx(1)


def test_cllr_worked_by_hand():
    llrs, labels = np.log([3.0, 1 / 3]), np.array([True, False])
    assert cllr(llrs, labels) == pytest.approx(np.log2(4 / 3))


def test_large_llrs_do_not_overflow():
    labels = np.array([True, False])
    assert cllr(np.array([1e4, -1e4]), labels) == 0
    assert cllr(np.array([-1e4, 1e4]), labels) == pytest.approx(1e4 / np.log(2))


@pytest.mark.parametrize("seed", range(5))
def test_minimum_is_what_isotonic_calibration_reaches(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random(400) < 0.3
    scores = np.round(rng.normal(size=400) + 1.5 * labels, 1)
    weights = np.where(labels, 1 / labels.sum(), 1 / (~labels).sum())
    posterior = (
        IsotonicRegression(increasing=True).fit(scores, labels, weights).predict(scores)
    )
    with np.errstate(divide="ignore"):
        llrs = np.log(posterior) - np.log1p(-posterior)
    expected = cllr(llrs, labels)
    assert min_cllr(roc_points(scores, labels)) == pytest.approx(expected, abs=1e-10)
    assert min_cllr(roc_points(scores, labels)) <= cllr(scores, labels)


def test_minimum_of_perfect_and_of_equal_scores():
    labels = np.arange(8) < 4
    assert min_cllr(roc_points(-np.arange(8.0), labels)) == 0
    assert min_cllr(roc_points(np.ones(8), labels)) == pytest.approx(1)
