"""Quality-aware logistic calibration: from scores to log-likelihood ratios.

The LLR is an affine function of the score and of quality measures of both recordings,
which correct for short or poor speech (Thienpondt et al., ICASSP 2021).
"""

import json
import logging
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write, json_number, read_json
from espnet2_sv.scoring.metrics import bayes_threshold, cllr
from espnet2_sv.scoring.roc import check_scores

MEASURES = ("duration", "magnitude", "cohort_mean")
_LOG_MEASURES = ("duration", "magnitude")  # ratios matter, not differences
# L2 penalty: keeps weights finite if few training scores separate perfectly
_RIDGE = 0.05
_FORMAT = "espnet2_sv calibration 1"


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration.

    Attributes:
        score_weight: Weight of the score.
        bias: Constant term.
        measure_weights: For each quality measure (of :data:`MEASURES`), the weights of
            the smaller and of the larger value of the two sides; durations (seconds)
            and magnitudes enter as natural logarithms.
        info: Training settings and counts.
    """

    score_weight: float
    bias: float
    measure_weights: dict[str, tuple[float, float]]
    info: dict[str, Any]

    @property
    def measures(self) -> tuple[str, ...]:
        """Quality measures of both sides that :meth:`llr` requires."""
        return tuple(self.measure_weights)

    def llr(
        self,
        score: float | np.ndarray,
        enroll_duration: float | np.ndarray | None = None,
        test_duration: float | np.ndarray | None = None,
        enroll_magnitude: float | np.ndarray | None = None,
        test_magnitude: float | np.ndarray | None = None,
        enroll_cohort_mean: float | np.ndarray | None = None,
        test_cohort_mean: float | np.ndarray | None = None,
    ) -> np.ndarray:
        """Natural log-likelihood ratio of same-speaker against different-speaker.

        Args:
            score: (...) scores of the kind that the calibration was trained on.
            enroll_duration: Seconds of enrolment speech.
            test_duration: Seconds of test speech.
            enroll_magnitude: Norm of the enrolment embedding before length
                normalisation.
            test_magnitude: Norm of the test embedding.
            enroll_cohort_mean: Mean score of the enrolment side against its
                highest-scoring impostors.
            test_cohort_mean: Mean score of the test side.

        Returns:
            (...) float64.

        Raises:
            SVError: A quality measure that the calibration was trained with is
                missing.
        """
        given = {
            "duration": (enroll_duration, test_duration),
            "magnitude": (enroll_magnitude, test_magnitude),
            "cohort_mean": (enroll_cohort_mean, test_cohort_mean),
        }
        llr = self.score_weight * np.asarray(score, np.float64) + self.bias
        for measure, weights in self.measure_weights.items():
            enroll, test = given[measure]
            if enroll is None or test is None:
                raise SVError(
                    f"the calibration was trained with {measure}: give the {measure} of"
                    " both sides, or train one without it"
                )
            smaller, larger = measure_features(measure, enroll, test)
            llr = llr + weights[0] * smaller + weights[1] * larger
        return llr

    def threshold(self, p_target: float, c_miss: float = 1, c_fa: float = 1) -> float:
        """Return the LLR threshold for a prior probability of a target and costs.

        Raises:
            SVError: The prior is not between 0 and 1.
        """
        return bayes_threshold(p_target, c_miss, c_fa)

    def save(self, path: str | PathLike) -> None:
        """Write the calibration as JSON."""
        with atomic_write(path) as f:
            f.write(json.dumps({"format": _FORMAT} | asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | PathLike) -> "Calibration":
        """Read a file that :meth:`save` wrote.

        Raises:
            SVError: The file is missing or is not a calibration.
        """
        content = read_json(path)
        try:
            if content["format"] != _FORMAT:
                raise ValueError("is of another format")
            weights = {}
            for measure, (smaller, larger) in dict(content["measure_weights"]).items():
                weights[measure] = json_number(smaller), json_number(larger)
            score_weight = json_number(content["score_weight"])
            # negative: a higher score would mean a less likely target
            if score_weight < 0 or not weights.keys() <= set(MEASURES):
                raise ValueError("is not fitted by sv_calibrate")
            info = dict(content["info"])
            return cls(score_weight, json_number(content["bias"]), weights, info)
        except (ValueError, KeyError, TypeError) as e:
            raise SVError(
                f"{path}: is not a calibration; write it with sv_calibrate"
            ) from e


def measure_features(
    measure: str, enroll: float | np.ndarray, test: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the smaller and the larger value of the two sides, as features.

    Args:
        measure: One of :data:`MEASURES`.
        enroll: (...) values of the enrolment side.
        test: (...) values of the test side.

    Returns:
        Two (...) float64 arrays; natural logarithms of durations and magnitudes.

    Raises:
        SVError: A duration or magnitude is not positive, or is NaN.
    """
    sides = [np.asarray(side, np.float64) for side in (enroll, test)]
    if measure in _LOG_MEASURES:
        if not all((side > 0).all() for side in sides):
            raise SVError(f"a {measure} is not positive; check the recordings")
        sides = [np.log(side) for side in sides]
    return np.minimum(*sides), np.maximum(*sides)


def by_side(quality: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Name quality measures as the keyword arguments of :meth:`Calibration.llr`."""
    return {
        f"{side}_{measure}": values
        for measure, both in quality.items()
        for side, values in zip(("enroll", "test"), both, strict=True)
    }


def fit_calibration(
    scores: np.ndarray,
    labels: np.ndarray,
    quality: dict[str, tuple[np.ndarray, np.ndarray]] | None = None,
    p_target: float = 0.5,
    score_kind: str = "cosine",
) -> Calibration:
    """Fit by logistic regression, with both classes weighted to a prior.

    Args:
        scores: (K,) training scores.
        labels: (K,) true for targets.
        quality: For each measure, (K,) values of the enrolment side and of the test
            side.
        p_target: Prior probability of a target at which the fit is best.
        score_kind: Kind of score, e.g. ``cosine``; recorded in ``info``, because the
            calibration is valid for no other.

    Raises:
        SVError: A class is missing, a score is NaN or Inf, or the fit fails.
    """
    scores, labels = check_scores(scores, labels)
    quality = quality or {}
    columns = [scores]
    for measure, sides in quality.items():
        columns += measure_features(measure, *sides)
    weights, bias = _fit(np.stack(columns), labels, p_target)
    if weights[0] == 0:
        logging.warning(
            "the training scores of targets are no higher than those of nontargets: the"
            " calibration ignores scores; train it on more trials or on scores of a"
            " better model"
        )
    measure_weights = {
        measure: (weights[1 + 2 * i], weights[2 + 2 * i])
        for i, measure in enumerate(quality)
    }
    n_target = int(np.count_nonzero(labels))
    info = {
        "score_kind": score_kind,
        "n_target": n_target,
        "n_nontarget": len(labels) - n_target,
        "p_target": p_target,
    }
    fitted = Calibration(weights[0], bias, measure_weights, info)
    info["train_cllr"] = cllr(fitted.llr(scores, **by_side(quality)), labels)
    return fitted


def _fit(
    columns: np.ndarray, labels: np.ndarray, p_target: float
) -> tuple[list[float], float]:
    """Weights of the columns (F, K) and bias of the LLR."""
    from scipy.optimize import minimize

    prior = -bayes_threshold(p_target)
    centre, scale = columns.mean(1), columns.std(1)
    scale[scale == 0] = 1  # a constant column gets no weight
    columns = (columns - centre[:, None]) / scale[:, None]
    sign = np.where(labels, 1.0, -1.0)
    ridge = _RIDGE / len(labels)
    trial_weights = np.where(
        labels,
        p_target / np.count_nonzero(labels),
        (1 - p_target) / np.count_nonzero(~labels),
    )

    def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        margin = sign * (weights @ columns + bias + prior)
        slope = -sign * trial_weights * np.exp(-np.logaddexp(0, margin))
        value = trial_weights @ np.logaddexp(0, -margin) + ridge * weights @ weights
        return value, np.append(columns @ slope + 2 * ridge * weights, slope.sum())

    start = np.append(np.eye(len(columns))[0], 0.0)
    options = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000}
    # A higher score never lowers the LLR, even if few training trials suggest so.
    bounds = [(0, None), *[(None, None)] * len(columns)]
    fit = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    if not np.isfinite(fit.x).all():
        raise SVError("the calibration did not converge; check the training scores")
    weights = fit.x[:-1] / scale
    return weights.tolist(), float(fit.x[-1] - weights @ centre)
