import numpy as np
import pytest

from espnet2_sv.scoring.metrics import actual_dcf, bayes_threshold, min_dcf


def test_threshold_is_where_both_decisions_cost_the_same():
    assert bayes_threshold(0.5) == 0
    assert bayes_threshold(0.01) == pytest.approx(np.log(99))
    assert bayes_threshold(0.5, c_miss=10) == pytest.approx(-np.log(10))


def test_worked_by_hand():
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
