"""Error rates and costs of one system on one list of trials."""

import numpy as np

from espnet2_sv.scoring.roc import EqualErrorRate, roc_points


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
    scores: np.ndarray, labels: np.ndarray, p_target: float, c_miss: float = 1, c_fa: float = 1
) -> tuple[float, float]:
    """Minimum normalised detection cost (NIST): the cost at the best threshold.

    The cost ``c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa`` is divided by that of
    the better of the two systems that accept nothing or everything, so 1 is the worst value.

    Args:
        scores: (N,) higher means "same speaker".
        labels: (N,) true for targets.
        p_target: Prior probability of a target.
        c_miss: Cost of a miss.
        c_fa: Cost of a false alarm.

    Returns:
        The cost, and the threshold that gives it (trials of at least this score are accepted;
        +inf accepts nothing).

    Raises:
        SVError: A score is NaN or Inf, a class is missing, or the prior is not between 0 and 1.
    """
    return roc_points(scores, labels).min_dcf(p_target, c_miss, c_fa)
