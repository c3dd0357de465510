"""The cost of log-likelihood ratios (Brümmer and du Preez, Computer Speech & Language 2006)."""

import numpy as np

from espnet2_sv.scoring.roc import Roc


def cllr(llrs: np.ndarray, labels: np.ndarray) -> float:
    """Cllr in bits; 0 is perfect, 1 is what LLRs of 0 cost.

    Args:
        llrs: (N,) natural log-likelihood ratios.
        labels: (N,) true for targets.
    """
    llrs, labels = np.asarray(llrs, np.float64), np.asarray(labels, bool)
    target = np.logaddexp(0, -llrs[labels]).mean()
    nontarget = np.logaddexp(0, llrs[~labels]).mean()
    return float((target + nontarget) / 2 / np.log(2))


def min_cllr(roc: Roc) -> float:
    """Cllr in bits after the best monotone map of the scores: what calibration cannot mend.

    The best map gives every edge of the ROC's convex hull its slope as likelihood
    ratio.
    """
    hull = roc.hull
    target = -np.diff(hull.misses) / roc.n_target
    nontarget = np.diff(hull.false_alarms) / roc.n_nontarget
    both = (target > 0) & (
        nontarget > 0
    )  # an edge with one class only is certain, and free
    target, nontarget = target[both], nontarget[both]
    bits = target * np.log2(1 + nontarget / target) + nontarget * np.log2(
        1 + target / nontarget
    )
    return float(bits.sum() / 2)
