"""Confidence intervals by resampling speakers, or trials where no speakers are known.

The speakers of a list are drawn with replacement. A trial of two speakers counts as
often as the product of how often each was drawn, a target trial as often as its
    speaker: two copies of one
speaker stand for two different people. Resampling trials instead takes a speaker's
trials for independent, and gives intervals that are too narrow.

Error rates of few speakers are skewed: most resamplings miss the one difficult speaker.
    Intervals
are therefore symmetric on the logit scale, with the spread of the resamplings and
Student's t for the number of speakers, which holds its coverage where percentiles do
not.
"""

from collections.abc import Callable, Sequence

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.parallel import for_each_chunk
from espnet2_sv.scoring.roc import dcf_weights, roc_points
from espnet2_sv.scoring.trials import Speakers

MIN_SPEAKERS = 5  # with fewer, no resampling can tell how speakers differ
_ATTEMPTS = 100  # draws until both classes are there

# (random generator) -> weights of the target trials and of the nontarget trials
Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
# these weights -> (figures,), some of them NaN where a figure needs a class that weighs
# nothing
Figures = Callable[[np.ndarray, np.ndarray], np.ndarray]


def draw_speakers(speakers: Speakers, labels: np.ndarray) -> Draw:
    """Weights by how often each speaker is drawn.

    Raises:
        SVError: There are fewer than :data:`MIN_SPEAKERS` speakers.
    """
    if speakers.count < MIN_SPEAKERS:
        raise SVError(
            f"{speakers.count} speakers; intervals need at least {MIN_SPEAKERS}"
        )
    of_target = speakers.enroll[labels]
    enroll, test = speakers.enroll[~labels], speakers.test[~labels]
    evenly = np.full(speakers.count, 1 / speakers.count)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        times = rng.multinomial(speakers.count, evenly).astype(np.float64)
        nontarget = times[enroll]
        nontarget *= times[test]
        return times[of_target], nontarget

    return draw


def draw_trials(labels: np.ndarray) -> Draw:
    """Weights by how often each trial is drawn, targets and nontargets apart."""
    n_target = int(np.count_nonzero(labels))
    counts = (n_target, len(labels) - n_target)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        target, nontarget = (
            np.bincount(rng.integers(0, n, n, np.int32), minlength=n).astype(np.float64)
            for n in counts
        )
        return target, nontarget

    return draw


def draw_lists(draws: Sequence[Draw]) -> Draw:
    """Weights of lists put end to end, each drawn by itself: no speaker is in two of them."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        targets, nontargets = zip(*(draw_one(rng) for draw_one in draws), strict=True)
        return np.concatenate(targets), np.concatenate(nontargets)

    return draw


class WeightedRoc:
    """EER and minimum costs of one system when each trial has a weight."""

    def __init__(
        self, scores: np.ndarray, labels: np.ndarray, p_targets: Sequence[float]
    ):
        """Sort once; ``scores`` (K,), ``labels`` (K,)."""
        labels = np.asarray(labels, bool)
        roc = roc_points(scores, labels)
        self._target_order = _falling(np.asarray(scores)[labels])
        self._nontarget_order = _falling(np.asarray(scores)[~labels])
        self._hits = roc.n_target - roc.misses
        self._false_alarms = roc.false_alarms
        # Costs can only be least just before a step right and just after a step up.
        right, up = np.diff(roc.false_alarms) > 0, -np.diff(roc.misses) > 0
        corner = np.append(right, True) & np.insert(up, 0, True)
        self._corner_hits = self._hits[corner]
        self._corner_false_alarms = self._false_alarms[corner]
        self._weights = [dcf_weights(p) for p in p_targets]

    def __call__(self, target: np.ndarray, nontarget: np.ndarray) -> np.ndarray:
        """EER (a fraction) and the minimum cost for each prior; NaN if a class weighs nothing."""
        hits = _cumulate(target[self._target_order])
        false_alarms = _cumulate(nontarget[self._nontarget_order])
        if hits[-1] == 0 or false_alarms[-1] == 0:
            return np.full(1 + len(self._weights), np.nan)
        p_miss = 1 - hits[self._corner_hits] / hits[-1]
        p_fa = false_alarms[self._corner_false_alarms] / false_alarms[-1]
        costs = [np.min(miss * p_miss + fa * p_fa) for miss, fa in self._weights]
        return np.array([self._crossing(hits, false_alarms), *costs])

    def unweighted(self) -> np.ndarray:
        """The same figures when each trial counts once."""
        return self(np.ones(self._hits[-1]), np.ones(self._false_alarms[-1]))

    def _crossing(self, hits: np.ndarray, false_alarms: np.ndarray) -> float:
        def point(i: int) -> tuple[float, float]:
            return (
                false_alarms[self._false_alarms[i]] / false_alarms[-1],
                1 - hits[self._hits[i]] / hits[-1],
            )

        before, after = 0, len(self._hits) - 1
        while after - before > 1:
            middle = (before + after) // 2
            p_fa, p_miss = point(middle)
            before, after = (middle, after) if p_miss > p_fa else (before, middle)
        (fa0, miss0), (fa1, miss1) = point(before), point(after)
        part = (miss0 - fa0) / ((miss0 - fa0) - (miss1 - fa1))
        return fa0 + part * (fa1 - fa0)


def bootstrap(
    systems: Sequence[Figures], draw: Draw, samples: int, seed: int
) -> np.ndarray:
    """Resample the trials, the same way for every system.

    Args:
        systems: One or several systems on the same trials, e.g. a :class:`WeightedRoc`
            each.
        draw: From :func:`draw_speakers` or :func:`draw_trials`.
        samples: Number of resamplings.
        seed: The same seed gives the same numbers, on any number of threads.

    Returns:
        (samples, systems, figures) what each system has given.

    Raises:
        SVError: Some resamplings lack targets or nontargets, try as one may.
    """
    streams = np.random.SeedSequence(seed).spawn(samples)
    results: list[list[np.ndarray]] = [[] for _ in range(samples)]

    def work(part: slice) -> None:
        for i in range(part.start, part.stop):
            rng = np.random.default_rng(streams[i])
            for _ in range(_ATTEMPTS):
                weights = draw(rng)
                results[i] = [system(*weights) for system in systems]
                if not np.isnan(results[i]).any():
                    break

    for_each_chunk(work, samples, 8)
    values = np.array(results)
    if np.isnan(values).any():
        raise SVError("too few speakers have trials of both classes to resample them")
    return values


def interval(
    estimate: np.ndarray,
    values: np.ndarray,
    units: int,
    smallest: float,
    level: float = 0.95,
) -> np.ndarray:
    """Interval of rates between 0 and 1, symmetric on the logit scale.

    Args:
        estimate: (...) what was measured.
        values: (samples, ...) what the resamplings gave.
        units: Number of speakers (or trials) that were resampled.
        smallest: Rates are kept this far from 0 and 1.
        level: Split of intervals that should cover the truth.

    Returns:
        (2, ...) lower and upper ends.
    """
    from scipy.special import expit, logit, stdtrit

    middle, values = (
        logit(np.clip(x, smallest, 1 - smallest)) for x in (estimate, values)
    )
    reach = stdtrit(units - 1, (1 + level) / 2) * values.std(axis=0, ddof=1)
    low, high = expit(middle - reach), expit(middle + reach)
    return np.stack([np.minimum(low, estimate), np.maximum(high, estimate)])


def _falling(scores: np.ndarray) -> np.ndarray | slice:
    """What puts scores in falling order; a slice, which copies nothing, where they are in it."""
    return slice(None) if (scores[1:] <= scores[:-1]).all() else np.argsort(-scores)


def _cumulate(weights: np.ndarray) -> np.ndarray:
    total = np.empty(len(weights) + 1)
    total[0] = 0
    np.cumsum(weights, out=total[1:])
    return total
