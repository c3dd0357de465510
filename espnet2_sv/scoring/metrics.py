"""Error rates and costs of one system on one list of trials."""

import math
from typing import Any

import numpy as np

from espnet2_sv.scoring.cllr import cllr, min_cllr
from espnet2_sv.scoring.dcf import actual_dcf
from espnet2_sv.scoring.roc import EqualErrorRate, Roc, roc_points

P_TARGETS = {"p01": 0.01, "p05": 0.05}  # NIST SRE and VoxSRC priors


def equal_error_rate(scores: np.ndarray, labels: np.ndarray) -> EqualErrorRate:
    """Equal error rate, as a fraction, plain and on the convex hull.

    Args:
        scores: (N,) higher means "same speaker".
        labels: (N,) true for targets.

    Raises:
        SVError: A score is NaN or Inf, or one of the two classes is missing.
    """
    return roc_points(scores, labels).equal_error_rate()


def min_dcf(
    scores: np.ndarray,
    labels: np.ndarray,
    p_target: float,
    c_miss: float = 1,
    c_fa: float = 1,
) -> tuple[float, float]:
    """Minimum normalised detection cost (NIST): the cost at the best threshold.

    The cost ``c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa`` is divided by
    that of the better of the two systems that accept nothing or everything, so 1 is the
    worst value.

    Args:
        scores: (N,) higher means "same speaker".
        labels: (N,) true for targets.
        p_target: Prior probability of a target.
        c_miss: Cost of a miss.
        c_fa: Cost of a false alarm.

    Returns:
        The cost, and the threshold that gives it (trials of at least this score are
        accepted; +inf accepts nothing).

    Raises:
        SVError: A score is NaN or Inf, a class is missing, or the prior is not between
            0 and 1.
    """
    return roc_points(scores, labels).min_dcf(p_target, c_miss, c_fa)


def describe(
    scores: np.ndarray, labels: np.ndarray, roc: Roc | None = None
) -> dict[str, Any]:
    """Every figure of one system that needs no resampling.

    Cllr and actual costs take the scores as natural log-likelihood ratios.

    Args:
        scores: (N,) higher means "same speaker".
        labels: (N,) true for targets.
        roc: Their ROC, where there is one already.

    Returns:
        Plain data; error rates in percent, costs and Cllr as they are.
    """
    roc = roc or roc_points(scores, labels)
    eer, eer_rocch, threshold = roc.equal_error_rate()
    figures: dict[str, Any] = {
        "n_target": roc.n_target,
        "n_nontarget": roc.n_nontarget,
        "eer": 100 * eer,
        "eer_rocch": 100 * eer_rocch,
        "eer_threshold": threshold,
    }
    for key, p_target in P_TARGETS.items():
        cost, threshold = roc.min_dcf(p_target)
        figures[f"mindcf_{key}"] = cost
        figures[f"mindcf_{key}_threshold"] = (
            threshold if math.isfinite(threshold) else None
        )
        figures[f"actdcf_{key}"] = actual_dcf(scores, labels, p_target)
    figures |= {"cllr": cllr(scores, labels), "min_cllr": min_cllr(roc)}
    for name, side in (("target", scores[labels]), ("nontarget", scores[~labels])):
        figures[f"score_mean_{name}"] = float(side.mean())
        figures[f"score_std_{name}"] = float(side.std())
    return figures
