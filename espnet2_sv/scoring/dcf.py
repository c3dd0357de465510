"""Weights of the detection cost, and the cost at the threshold that a prior asks for."""

import math

import numpy as np

from espnet2_sv.errors import SVError


def dcf_weights(
    p_target: float, c_miss: float = 1, c_fa: float = 1
) -> tuple[float, float]:
    """Factors of the miss and false alarm rates in the normalised detection cost.

    Raises:
        SVError: The prior is not between 0 and 1.
    """
    if not 0 < p_target < 1:
        raise SVError(f"p_target={p_target}: a prior lies between 0 and 1")
    miss, fa = c_miss * p_target, c_fa * (1 - p_target)
    return miss / min(miss, fa), fa / min(miss, fa)


def bayes_threshold(p_target: float, c_miss: float = 1, c_fa: float = 1) -> float:
    """The log-likelihood ratio (natural logarithm) from which accepting costs least."""
    miss, fa = dcf_weights(p_target, c_miss, c_fa)
    return math.log(fa / miss)


def actual_dcf(
    llrs: np.ndarray,
    labels: np.ndarray,
    p_target: float,
    c_miss: float = 1,
    c_fa: float = 1,
) -> float:
    """Normalised detection cost at the Bayes threshold, for scores that are LLRs.

    Args:
        llrs: (N,) natural log-likelihood ratios.
        labels: (N,) true for targets.
        p_target: Prior probability of a target.
        c_miss: Cost of a miss.
        c_fa: Cost of a false alarm.
    """
    llrs, labels = np.asarray(llrs), np.asarray(labels, bool)
    miss_weight, fa_weight = dcf_weights(p_target, c_miss, c_fa)
    accepted = llrs >= bayes_threshold(p_target, c_miss, c_fa)
    return float(
        miss_weight * np.mean(~accepted[labels])
        + fa_weight * np.mean(accepted[~labels])
    )
