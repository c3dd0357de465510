"""Bootstrap over speakers, or over trials where the speakers are unknown.

The speakers of a list are drawn with replacement. The weight of a nontarget trial is
the product of the numbers of times that its two speakers were drawn; that of a target
trial is the number of times that its speaker was drawn, because two copies of a speaker
represent two different people. Resampling trials instead treats the trials of a speaker
as independent, which makes intervals too narrow.
"""

from collections.abc import Callable, Sequence

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.parallel import for_each_chunk
from espnet2_sv.scoring.roc import dcf_weights, roc_points
from espnet2_sv.scoring.trials import Speakers

MIN_SPEAKERS = 5  # fewer say too little about the variation between speakers
_ATTEMPTS = 100  # draws per sample until both classes are present

# (random generator) -> weights of the target trials and of the nontarget trials
Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
# these weights -> metrics (F,), NaN where a class has no weight
WeightedMetrics = Callable[[np.ndarray, np.ndarray], np.ndarray]


def draw_speakers(speakers: Speakers, labels: np.ndarray) -> Draw:
    """Draw speakers: weights by how often each of a trial's speakers is drawn.

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
    """Draw trials: targets and nontargets separately, with replacement."""
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
    """Draw from each of several concatenated lists, which share no speaker."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        targets, nontargets = zip(*(draw_one(rng) for draw_one in draws), strict=True)
        return np.concatenate(targets), np.concatenate(nontargets)

    return draw


class WeightedRoc:
    """EER and minimum costs of one system on weighted trials."""

    def __init__(
        self, scores: np.ndarray, labels: np.ndarray, p_targets: Sequence[float]
    ):
        """Sort the trials once.

        Args:
            scores: (K,).
            labels: (K,) true for targets.
            p_targets: Priors of the minimum costs.
        """
        labels = np.asarray(labels, bool)
        roc = roc_points(scores, labels)
        self._target_order = _descending(np.asarray(scores)[labels])
        self._nontarget_order = _descending(np.asarray(scores)[~labels])
        self._hits = roc.n_target - roc.misses
        self._false_alarms = roc.false_alarms
        # A cost is minimal only at a corner: after a step up and before a step right.
        right, up = np.diff(roc.false_alarms) > 0, -np.diff(roc.misses) > 0
        corner = np.append(right, True) & np.insert(up, 0, True)
        self._corner_hits = self._hits[corner]
        self._corner_false_alarms = self._false_alarms[corner]
        self._weights = [dcf_weights(p) for p in p_targets]

    def __call__(self, target: np.ndarray, nontarget: np.ndarray) -> np.ndarray:
        """Compute the metrics.

        Args:
            target: Weights of the target trials, in the order of the list.
            nontarget: Weights of the nontarget trials.

        Returns:
            (1 + priors,) EER, as a fraction, and the minimum cost for each prior; NaN
            if a class has no weight.
        """
        hits = _cumulate(target[self._target_order])
        false_alarms = _cumulate(nontarget[self._nontarget_order])
        if hits[-1] == 0 or false_alarms[-1] == 0:
            return np.full(1 + len(self._weights), np.nan)
        p_miss = 1 - hits[self._corner_hits] / hits[-1]
        p_fa = false_alarms[self._corner_false_alarms] / false_alarms[-1]
        costs = [np.min(miss * p_miss + fa * p_fa) for miss, fa in self._weights]
        return np.array([self._crossing(hits, false_alarms), *costs])

    def unweighted(self) -> np.ndarray:
        """Compute the metrics with a weight of 1 for each trial."""
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
    systems: Sequence[WeightedMetrics], draw: Draw, samples: int, seed: int
) -> np.ndarray:
    """Resample the trials, identically for every system.

    Args:
        systems: One or several systems on the same trials, e.g. a :class:`WeightedRoc`
            each.
        draw: What :func:`draw_speakers` or :func:`draw_trials` returned.
        samples: Number of bootstrap samples.
        seed: The same seed gives the same result, on any number of threads.

    Returns:
        (samples, systems, F) metrics of each system.

    Raises:
        SVError: A sample has no targets or no nontargets after many attempts.
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
        raise SVError("too few speakers have trials of both classes for resampling")
    return values


def resample_means(
    systems: Sequence[Sequence[WeightedMetrics]], draw: Draw, samples: int, seed: int
) -> np.ndarray:
    """Resample speakers, identically for all runs, and the runs of each system.

    Of R > 1 runs, R - 1 are drawn with replacement: the variance of their mean is then
    an unbiased estimate of that of the mean over R seeds, where drawing R of R would
    underestimate it by the factor (R - 1) / R. This is the simplest case of the
    rescaling bootstrap (Rao and Wu, JASA, 1988).

    Args:
        systems: The runs of each system, all on the same trials.
        draw: Draws the weights of the trials.
        samples: Number of bootstrap samples.
        seed: The same seed gives the same result.

    Returns:
        (samples, systems, F) means over the drawn runs.
    """
    values = bootstrap([run for runs in systems for run in runs], draw, samples, seed)
    means, start = [], 0
    for number, runs in enumerate(systems, 1):
        of_runs = values[:, start : start + len(runs)]
        start += len(runs)
        if len(runs) > 1:
            rng = np.random.default_rng((seed, number))
            drawn = rng.integers(len(runs), size=(samples, len(runs) - 1))
            drawn.sort(axis=1)  # makes means of the same runs equal to the last bit
            of_runs = np.take_along_axis(of_runs, drawn[:, :, None], axis=1)
        means.append(of_runs.mean(axis=1))
    return np.stack(means, axis=1)


def _descending(scores: np.ndarray) -> np.ndarray | slice:
    """Descending order of scores; a slice, which copies nothing, if they are sorted."""
    return slice(None) if (scores[1:] <= scores[:-1]).all() else np.argsort(-scores)


def _cumulate(weights: np.ndarray) -> np.ndarray:
    total = np.empty(len(weights) + 1)
    total[0] = 0
    np.cumsum(weights, out=total[1:])
    return total
