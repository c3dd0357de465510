"""ROC: the error rates at every threshold, the equal error rate and minimum cost."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from espnet2_sv.errors import SVError


class EqualErrorRate(NamedTuple):
    """Equal error rates, as fractions (not percent).

    Attributes:
        eer: Where the linearly interpolated ROC has equal miss and false alarm rates.
        eer_rocch: The same crossing on the convex hull of the ROC.
        threshold: Score of the operating point nearest to ``eer``.
    """

    eer: float
    eer_rocch: float
    threshold: float


@dataclass(frozen=True)
class Roc:
    """Operating points, from "accept nothing" to "accept everything".

    A trial is accepted if its score is at least the threshold.

    Attributes:
        thresholds: (P,) descending; the first is +inf.
        false_alarms: (P,) number of nontarget trials accepted.
        misses: (P,) number of target trials rejected.
    """

    thresholds: np.ndarray
    false_alarms: np.ndarray
    misses: np.ndarray

    @property
    def n_target(self) -> int:
        """Number of target trials."""
        return int(self.misses[0])

    @property
    def n_nontarget(self) -> int:
        """Number of nontarget trials."""
        return int(self.false_alarms[-1])

    @property
    def p_fa(self) -> np.ndarray:
        """(P,) false alarm rates, as fractions."""
        return self.false_alarms / self.n_nontarget

    @property
    def p_miss(self) -> np.ndarray:
        """(P,) miss rates, as fractions."""
        return self.misses / self.n_target

    def crossing(self) -> tuple[float, float]:
        """Return the rate where misses equal false alarms and the nearest threshold."""
        p_fa, p_miss = self.p_fa, self.p_miss
        gap = p_miss - p_fa  # strictly descending from 1 to -1
        after = int(np.searchsorted(-gap, 0.0))
        before = after - 1
        part = gap[before] / (gap[before] - gap[after])
        rate = p_fa[before] + part * (p_fa[after] - p_fa[before])
        nearer = after if part >= 0.5 or before == 0 else before
        return float(rate), float(self.thresholds[nearer])

    @cached_property
    def hull(self) -> "Roc":
        """The points on the convex hull (ROCCH), by pooling adjacent violators."""
        from scipy.optimize import isotonic_regression

        targets = -np.diff(self.misses)
        trials = targets + np.diff(self.false_alarms)
        fit = isotonic_regression(targets / trials, weights=trials, increasing=False)
        return Roc(
            *(a[fit.blocks] for a in (self.thresholds, self.false_alarms, self.misses))
        )

    def equal_error_rate(self) -> EqualErrorRate:
        """Return the EER of the curve and of its convex hull."""
        eer, threshold = self.crossing()
        return EqualErrorRate(eer, self.hull.crossing()[0], threshold)

    def min_dcf(
        self, p_target: float, c_miss: float = 1, c_fa: float = 1
    ) -> tuple[float, float]:
        """Return minimum cost and its threshold; see :func:`metrics.min_dcf`."""
        miss_weight, fa_weight = dcf_weights(p_target, c_miss, c_fa)
        cost = miss_weight * self.p_miss + fa_weight * self.p_fa
        best = int(np.argmin(cost))
        return float(cost[best]), float(self.thresholds[best])


def roc_points(scores: np.ndarray, labels: np.ndarray) -> Roc:
    """Count the errors at every threshold.

    Args:
        scores: (K,) higher means "same speaker".
        labels: (K,) true for targets.

    Raises:
        SVError: As :func:`check_scores`.
    """
    scores, labels = check_scores(scores, labels)
    order = np.argsort(-scores)
    scores, labels = scores[order], labels[order]
    # Equal scores are accepted together.
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    hits = np.cumsum(labels)[last]
    start = np.zeros(1, np.int64)
    return Roc(
        thresholds=np.concatenate([[math.inf], scores[last]]),
        false_alarms=np.concatenate([start, last + 1 - hits]),
        misses=hits[-1] - np.concatenate([start, hits]),
    )


def check_scores(
    scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (K,) as float64 and labels (K,) as bool.

    Raises:
        SVError: Shapes differ, a score is NaN or Inf, or one of the classes is missing.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, bool)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise SVError(
            f"{scores.shape} scores for {labels.shape} labels: give one of each per"
            " trial"
        )
    bad = ~np.isfinite(scores)
    if bad.any():
        raise SVError(
            f"{np.count_nonzero(bad)} of {len(scores)} scores are NaN or Inf; "
            f"the first is that of trial {bad.argmax() + 1}"
        )
    n_target = int(np.count_nonzero(labels))
    if not 0 < n_target < len(labels):
        raise SVError(
            f"{n_target} target and {len(labels) - n_target} nontarget trials: "
            "error rates need both"
        )
    return scores, labels


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
