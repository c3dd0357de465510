"""Metrics of one system on one trial list: EER, minDCF, actual DCF and Cllr."""

import math
from typing import Any

import numpy as np

from espnet2_sv.scoring.roc import EqualErrorRate, Roc, dcf_weights, roc_points

P_TARGETS = {"p01": 0.01, "p05": 0.05}  # priors of NIST SRE and VoxSRC


def equal_error_rate(scores: np.ndarray, labels: np.ndarray) -> EqualErrorRate:
    """Equal error rate, as a fraction, of the ROC and of its convex hull.

    Args:
        scores: (K,) higher means "same speaker".
        labels: (K,) true for targets.

    Raises:
        SVError: As :func:`check_scores`.
    """
    return roc_points(scores, labels).equal_error_rate()


def min_dcf(
    scores: np.ndarray,
    labels: np.ndarray,
    p_target: float,
    c_miss: float = 1,
    c_fa: float = 1,
) -> tuple[float, float]:
    """Minimum normalised detection cost (NIST SRE), the cost at the best threshold.

    The cost ``c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa`` is divided by
    that of the better of the two systems that accept nothing or everything, so its
    maximum is 1.

    Args:
        scores: (K,) higher means "same speaker".
        labels: (K,) true for targets.
        p_target: Prior probability of a target.
        c_miss: Cost of a miss.
        c_fa: Cost of a false alarm.

    Returns:
        The cost, and the threshold that gives it (trials with at least this score are
        accepted; +inf accepts nothing).

    Raises:
        SVError: As :func:`check_scores`, or the prior is not between 0 and 1.
    """
    return roc_points(scores, labels).min_dcf(p_target, c_miss, c_fa)


def bayes_threshold(p_target: float, c_miss: float = 1, c_fa: float = 1) -> float:
    """Natural log-likelihood ratio above which accepting has the lower expected cost.

    Raises:
        SVError: The prior is not between 0 and 1.
    """
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
        llrs: (K,) natural log-likelihood ratios.
        labels: (K,) true for targets.
        p_target: Prior probability of a target.
        c_miss: Cost of a miss.
        c_fa: Cost of a false alarm.

    Raises:
        SVError: The prior is not between 0 and 1.
    """
    llrs, labels = np.asarray(llrs), np.asarray(labels, bool)
    miss_weight, fa_weight = dcf_weights(p_target, c_miss, c_fa)
    accepted = llrs >= bayes_threshold(p_target, c_miss, c_fa)
    return float(
        miss_weight * np.mean(~accepted[labels])
        + fa_weight * np.mean(accepted[~labels])
    )


def cllr(llrs: np.ndarray, labels: np.ndarray) -> float:
    """Cllr in bits: 0 for perfect LLRs, 1 for LLRs that are all 0.

    Brümmer and du Preez, "Application-independent evaluation of speaker detection",
    Computer Speech & Language, 2006.

    Args:
        llrs: (K,) natural log-likelihood ratios.
        labels: (K,) true for targets.
    """
    llrs, labels = np.asarray(llrs, np.float64), np.asarray(labels, bool)
    target = np.logaddexp(0, -llrs[labels]).mean()
    nontarget = np.logaddexp(0, llrs[~labels]).mean()
    return float((target + nontarget) / 2 / np.log(2))


def min_cllr(roc: Roc) -> float:
    """Cllr in bits after the optimal monotone calibration: the discrimination loss.

    The optimal calibration maps each edge of the ROC convex hull to its slope, as a
    likelihood ratio.
    """
    hull = roc.hull
    target = -np.diff(hull.misses) / roc.n_target
    nontarget = np.diff(hull.false_alarms) / roc.n_nontarget
    both = (target > 0) & (nontarget > 0)  # an edge with one class only costs nothing
    target, nontarget = target[both], nontarget[both]
    bits = target * np.log2(1 + nontarget / target) + nontarget * np.log2(
        1 + target / nontarget
    )
    return float(bits.sum() / 2)


def describe(
    scores: np.ndarray,
    labels: np.ndarray,
    roc: Roc | None = None,
    calibrated: bool = True,
) -> dict[str, Any]:
    """All metrics of one system that need no resampling.

    Args:
        scores: (K,) higher means "same speaker".
        labels: (K,) true for targets.
        roc: Their ROC, if it has been computed already.
        calibrated: Whether the scores are natural log-likelihood ratios. Cllr and
            actual costs are those of decisions by them, and None for other scores.

    Returns:
        Plain data for JSON; error rates in percent, costs as they are, Cllr in bits.
    """
    roc = roc or roc_points(scores, labels)
    eer, eer_rocch, threshold = roc.equal_error_rate()
    metrics: dict[str, Any] = {
        "n_target": roc.n_target,
        "n_nontarget": roc.n_nontarget,
        "eer": 100 * eer,
        "eer_rocch": 100 * eer_rocch,
        "eer_threshold": threshold,
    }
    for key, p_target in P_TARGETS.items():
        cost, threshold = roc.min_dcf(p_target)
        metrics[f"mindcf_{key}"] = cost
        metrics[f"mindcf_{key}_threshold"] = (
            threshold if math.isfinite(threshold) else None
        )
        metrics[f"actdcf_{key}"] = (
            actual_dcf(scores, labels, p_target) if calibrated else None
        )
    metrics["cllr"] = cllr(scores, labels) if calibrated else None
    metrics["min_cllr"] = min_cllr(roc)
    for name, side in (("target", scores[labels]), ("nontarget", scores[~labels])):
        metrics[f"score_mean_{name}"] = float(side.mean())
        metrics[f"score_std_{name}"] = float(side.std())
    return metrics
