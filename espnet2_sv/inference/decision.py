"""From a score to a likelihood ratio and a decision."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import read_json
from espnet2_sv.scoring.calibration import Calibration

CALIBRATION_FILE = "calibration.json"
THRESHOLD_FILE = "threshold.json"


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
        duration: Total duration of its recordings, in seconds.
        magnitude: Norm of its embedding before length normalisation; the mean over
            several recordings.
    """

    duration: float
    magnitude: float


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
        llr = None
        if self.calibration is not None:
            sides = {"enroll": enroll, "test": test}
            measures = {
                f"{side}_{name}": value
                for side, quality in sides.items()
                for name, value in asdict(quality).items()
            }
            llr = float(self.calibration.llr(score, **measures))
        if self.threshold is not None:
            return Verification(
                score, llr, score >= self.threshold, self.threshold, "score"
            )
        if self.calibration is not None and llr is not None:
            threshold = float(self.calibration.threshold(self.p_target))
            return Verification(score, llr, llr >= threshold, threshold, "llr")
        return Verification(score, None, None, None, None)


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
