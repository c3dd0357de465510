"""Confidence intervals and paired comparisons from bootstrap resampling.

Error rates of few speakers have skewed distributions: most samples miss the one
difficult speaker. Intervals are therefore symmetric on the logit scale, from the
standard deviation of the samples and Student's t for the number of speakers; unlike
percentile intervals, they keep their nominal coverage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.bootstrap import (
    WeightedRoc,
    bootstrap,
    draw_speakers,
    draw_trials,
)
from espnet2_sv.scoring.metrics import P_TARGETS
from espnet2_sv.scoring.trials import Speakers

# scale of each metric in reports: the EER is in percent
METRICS = {"eer": 100.0} | {f"mindcf_{key}": 1.0 for key in P_TARGETS}
# names of the metrics for readers
METRIC_NAMES = {"eer": "EER", "eer_part_mean": "mean EER of the parts"} | {
    f"mindcf_{key}": f"minDCF {prior:g}" for key, prior in P_TARGETS.items()
}


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap.

    Attributes:
        samples: Number of bootstrap samples; 0 for no intervals.
        seed: Seed of the random numbers.
    """

    samples: int = 1000
    seed: int = 0


def with_intervals(
    scores: np.ndarray,
    labels: np.ndarray,
    speakers: Speakers | None,
    resampling: Resampling,
    other: np.ndarray | None = None,
) -> dict[str, Any]:
    """95 % intervals of EER and minimum costs, and a paired comparison.

    Args:
        scores: (K,) of the system.
        labels: (K,) true for targets.
        speakers: Speakers of each trial; None resamples trials.
        resampling: Settings of the bootstrap.
        other: (K,) scores of another system on the same trials.

    Returns:
        Plain data: ``eer_ci95`` and ``mindcf_*_ci95`` (``[low, high]`` or None),
        ``bootstrap`` (unit, samples, seed, and the reason why intervals are None), and
        ``compare`` if ``other`` is given.
    """
    unit = "speakers" if speakers else "trials"
    settings = {"unit": unit, "samples": resampling.samples, "seed": resampling.seed}
    none = {f"{name}_ci95": None for name in METRICS}
    # Sorted by score, the trials are read sequentially by every sample.
    order = np.argsort(-scores)
    labels = labels[order]
    systems = [
        WeightedRoc(s[order], labels, tuple(P_TARGETS.values()))
        for s in (scores, other)
        if s is not None
    ]
    estimates = np.array([system.unweighted() for system in systems])
    units = speakers.count if speakers else int(np.bincount(labels, minlength=2).min())
    values = None
    try:
        if resampling.samples < 2:
            raise SVError("no resampling was requested")
        draw = (
            draw_speakers(speakers[order], labels) if speakers else draw_trials(labels)
        )
        values = bootstrap(systems, draw, resampling.samples, resampling.seed)
    except SVError as e:
        result: dict[str, Any] = none | {"bootstrap": settings | {"reason": str(e)}}
    else:
        found, reasons = find_intervals(estimates[0], values[:, 0], units, len(labels))
        result = found | {
            "bootstrap": settings | {"reason": "; ".join(reasons) or None}
        }
    if other is not None:
        result["compare"] = compare_metrics(estimates, values, units)
    return result


def find_intervals(
    estimates: np.ndarray,
    values: np.ndarray,
    units: int,
    n_trials: int,
    names: Mapping[str, float] = METRICS,
) -> tuple[dict[str, list[float] | None], list[str]]:
    """95 % intervals of one system, in the units of the metrics.

    Args:
        estimates: (F,) metrics of the list, as fractions, in the order of ``names``.
        values: (samples, F) metrics of the bootstrap samples.
        units: Number of speakers (or trials) that were resampled.
        n_trials: Number of trials; rates are clipped to half a trial from 0 and 1.
        names: Names and scales of the metrics.

    Returns:
        ``NAME_ci95`` (``[low, high]`` or None) of each metric, and reasons for None.
    """
    ends = interval(estimates, values, units, smallest=0.5 / n_trials)
    found: dict[str, list[float] | None] = {}
    reasons = []
    for i, (name, scale) in enumerate(names.items()):
        found[f"{name}_ci95"] = None
        if estimates[i] == 0:
            reasons.append(
                f"{METRIC_NAMES[name]} is 0, and without errors there is nothing to"
                " resample"
            )
        elif np.ptp(values[:, i]) == 0:
            reasons.append(f"{METRIC_NAMES[name]} is the same in all resamplings")
        else:
            found[f"{name}_ci95"] = (ends[:, i] * scale).tolist()
    return found, reasons


def compare_metrics(
    estimates: np.ndarray,
    values: np.ndarray | None,
    units: int,
    names: Mapping[str, float] = METRICS,
) -> dict[str, Any]:
    """Differences "other minus this": positive if this system is better.

    Args:
        estimates: (2, F) metrics of this system and of the other, as fractions.
        values: (samples, 2, F) metrics of both on the same bootstrap samples; None
            for no intervals.
        units: Number of speakers (or trials) that were resampled.
        names: Names and scales of the metrics.

    Returns:
        For each of ``names``: ``other``, ``difference``, ``difference_ci95`` and
        ``p_better``, the fraction of samples in which this system is better; a tie
        counts half.
    """
    from scipy.special import stdtrit

    result: dict[str, Any] = {}
    for i, (name, scale) in enumerate(names.items()):
        middle = estimates[1, i] - estimates[0, i]
        result[name] = {
            "other": float(estimates[1, i] * scale),
            "difference": float(middle * scale),
            "difference_ci95": None,
            "p_better": None,
        }
        if values is not None:
            difference = values[:, 1, i] - values[:, 0, i]
            reach = stdtrit(units - 1, 0.975) * difference.std(ddof=1)
            ends = (middle + np.array([-reach, reach])) * scale
            better = np.mean((difference > 0) + (difference == 0) / 2)
            result[name] |= {
                "difference_ci95": ends.tolist(),
                "p_better": float(better),
            }
    return result


def interval(
    estimate: np.ndarray,
    values: np.ndarray,
    units: int,
    smallest: float,
) -> np.ndarray:
    """95 % interval of rates between 0 and 1, symmetric on the logit scale.

    Args:
        estimate: (...) rates of the list.
        values: (samples, ...) rates of the bootstrap samples.
        units: Number of speakers (or trials) that were resampled.
        smallest: Rates are clipped to this distance from 0 and 1.

    Returns:
        (2, ...) lower and upper bounds.
    """
    from scipy.special import expit, logit, stdtrit

    middle, values = (
        logit(np.clip(x, smallest, 1 - smallest)) for x in (estimate, values)
    )
    reach = stdtrit(units - 1, 0.975) * values.std(axis=0, ddof=1)
    low, high = expit(middle - reach), expit(middle + reach)
    return np.stack([np.minimum(low, estimate), np.maximum(high, estimate)])
