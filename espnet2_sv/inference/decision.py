"""From a score to a likelihood ratio and a decision."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import read_json
from espnet2_sv.scoring.calibration import Calibration

CALIBRATION_FILE = "calibration.json"
THRESHOLD_FILE = "threshold.json"
FALSE_ACCEPT_RATE = 0.01  # of a search, unless another is asked for


@dataclass(frozen=True)
class Verification:
    """The result of comparing recordings.

    Attributes:
        score: Cosine of the length-normalised embeddings.
        llr: Natural logarithm of the likelihood ratio; None without calibration.
        decision: True for the same speaker; None without a threshold.
        threshold: What the score or the ratio is compared with, if anything.
        threshold_on: ``"llr"`` or ``"score"``; None without a threshold.
    """

    score: float
    llr: float | None
    decision: bool | None
    threshold: float | None
    threshold_on: str | None


@dataclass(frozen=True)
class Quality:
    """Quality measures of one side of a comparison, for calibration.

    Attributes:
        duration: Total duration of its recordings, in seconds. Of many speakers, an
            array (N,).
        magnitude: Norm of its embedding before length normalisation; the mean over
            several recordings. Of many speakers, an array (N,).
    """

    duration: float | np.ndarray
    magnitude: float | np.ndarray


@dataclass(frozen=True)
class SearchThreshold:
    """What the best match of a search among enrolled speakers is compared with.

    Attributes:
        threshold: Least score or ratio of an enrolled speaker; None without one.
        threshold_on: ``"llr"`` or ``"score"``; None without a threshold.
        false_accept_rate: Highest probability that a search by somebody who is not
            enrolled accepts anybody; None if the threshold was not chosen for one.
        note: What the threshold stands for, in a sentence.
    """

    threshold: float | None
    threshold_on: str | None
    false_accept_rate: float | None
    note: str


@dataclass(frozen=True)
class ScoreDecision:
    """Decides whether a score means the same speaker.

    Attributes:
        calibration: Turns scores into likelihood ratios, if given.
        threshold: Cosine from which recordings are accepted; overrides the calibrated
            threshold.
        p_target: Prior probability of the same speaker, for the calibration's
            threshold.
    """

    calibration: Calibration | None = None
    threshold: float | None = None
    p_target: float = 0.5

    def __post_init__(self):
        """Refuse settings that would fail or mislead later."""
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise SVError(f"threshold {self.threshold} is not a number")
        if not 0 < self.p_target < 1:
            raise SVError(
                f"p_target {self.p_target} is not a probability between 0 and 1"
            )
        known = {field.name for field in fields(Quality)}
        unknown = sorted(
            set(self.calibration.measures if self.calibration else ()) - known
        )
        if unknown:
            raise SVError(
                f"the calibration needs {', '.join(unknown)}, which two recordings"
                " alone do not have; train one that uses no measures other than"
                f" {', '.join(sorted(known))}"
            )

    @classmethod
    def load(
        cls, folder: Path, threshold: float | None = None, p_target: float = 0.5
    ) -> "ScoreDecision":
        """Load ``calibration.json``, or else ``threshold.json``, of a model.

        Args:
            folder: Directory of the model's config.
            threshold: Overrides both.
            p_target: See the class.
        """
        if (folder / CALIBRATION_FILE).exists():
            return cls(Calibration.load(folder / CALIBRATION_FILE), threshold, p_target)
        if threshold is None:
            threshold = read_threshold(folder / THRESHOLD_FILE)
        return cls(None, threshold, p_target)

    def __call__(self, score: float, enroll: Quality, test: Quality) -> Verification:
        """Decide on one cosine score, given the quality of both sides."""
        llrs = self.llrs(score, enroll, test)
        llr = None if llrs is None else float(llrs)
        if self.threshold is not None:
            return Verification(
                score, llr, score >= self.threshold, self.threshold, "score"
            )
        if self.calibration is not None and llr is not None:
            threshold = float(self.calibration.threshold(self.p_target))
            return Verification(score, llr, llr >= threshold, threshold, "llr")
        return Verification(score, None, None, None, None)

    def llrs(
        self, scores: float | np.ndarray, enroll: Quality, test: Quality
    ) -> np.ndarray | None:
        """Return log-likelihood ratios of scores; None without a calibration.

        Args:
            scores: (...) cosines.
            enroll: Quality of the enrolment sides.
            test: Quality of the test sides.
        """
        if self.calibration is None:
            return None
        sides = {"enroll": enroll, "test": test}
        measures = {
            f"{side}_{name}": value
            for side, quality in sides.items()
            for name, value in asdict(quality).items()
        }
        return self.calibration.llr(scores, **measures)

    def for_search(
        self, enrolled: int, false_accept_rate: float | None = None
    ) -> SearchThreshold:
        """Return the threshold of a search among enrolled speakers.

        A stranger is accepted wrongly if any of the N comparisons accepts. If these
        were independent, a rate P of the whole search would allow each a rate of ``1 -
        (1 - P)**(1/N)``; if they are not, which makes false accepts coincide, the rate
        of the search is lower. Of a calibrated ratio, at most ``exp(-t)`` of strangers'
        comparisons reach t (Markov's inequality, as the mean likelihood ratio of
        strangers is 1), so ``t = -log(1 - (1 - P)**(1/N))`` holds the rate, whatever
        the distribution. It is a bound: the rate found is usually lower. It holds for
        recordings like those that the calibration was trained on.

        Args:
            enrolled: Number N of enrolled speakers.
            false_accept_rate: The rate P of the search; None means
                :data:`FALSE_ACCEPT_RATE` where there is a calibration.

        Raises:
            SVError: A rate is asked for that the model has no calibration for, or that
                a threshold was given in place of; or it is no probability.
        """
        rate = false_accept_rate
        if rate is not None and not 0 < rate < 1:
            raise SVError(
                f"false_accept_rate {rate} is not a probability between 0 and 1"
            )
        if self.threshold is None and self.calibration is not None:
            rate = FALSE_ACCEPT_RATE if rate is None else rate
            # log1p and expm1, as 1 - 1e-17 is 1 in double precision
            each = -math.expm1(math.log1p(-rate) / max(enrolled, 1))
            note = (
                f"at most {rate:.3g} of searches by strangers accept one of {enrolled}"
                " speakers, as far as the calibration holds for these recordings"
            )
            return SearchThreshold(-math.log(each), "llr", rate, note)
        if rate is not None:
            raise SVError(
                "a rate of false accepts needs log-likelihood ratios: "
                + (
                    "the model has no calibration; pack one with it (sv_calibrate), or"
                    " give a threshold"
                    if self.calibration is None
                    else "give either the rate or a threshold, not both"
                )
            )
        if self.threshold is None:
            note = "the model has neither calibration nor threshold; give a threshold"
            return SearchThreshold(None, None, None, note)
        note = (
            "the threshold is that of a single comparison: the more speakers are"
            " enrolled, the more strangers are accepted"
        )
        return SearchThreshold(self.threshold, "score", None, note)


def read_threshold(path: Path) -> float | None:
    """Return the threshold of a ``threshold.json``, e.g. ``{"cosine": 0.31}``.

    Returns:
        The cosine, or None if there is no such file.

    Raises:
        SVError: The file does not hold a number.
    """
    if not path.exists():
        return None
    content = read_json(path)
    threshold = content.get("cosine") if isinstance(content, dict) else None
    if isinstance(threshold, bool):
        threshold = None
    # a cosine is between -1 and 1; what is beyond accepts all or none
    if isinstance(threshold, int | float) and abs(threshold) < 1e9:
        return float(threshold)
    raise SVError(f'{path}: is not {{"cosine": NUMBER}}; remove it or give --threshold')
