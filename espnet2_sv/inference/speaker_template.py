"""What is known of an enrolled speaker: enough to score, and to add recordings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_sv.errors import SVError, printable
from espnet2_sv.inference.decision import Quality
from espnet2_sv.scoring.cosine import length_normalise

UNKNOWN = "unknown"  # the decision for who is not enrolled
LONGEST_NAME = 1000  # characters


@dataclass(frozen=True)
class SpeakerTemplate:
    """A speaker's recordings, as sums that further recordings are added to.

    As each recording has a weight of its own, its seconds of speech, recordings
    enrolled together and one after the other give the same template.

    Attributes:
        embedding: (E,) float32 of unit length: the direction of the weighted sum of the
            recordings' length-normalised embeddings.
        resultant: Length of that weighted sum.
        seconds: Total duration of the recordings.
        speech: Sum of the weights: seconds of speech, or durations where speech was not
            looked for.
        magnitudes: Sum of the recordings' norms before length normalisation.
        recordings: Number of recordings.
    """

    embedding: np.ndarray
    resultant: float
    seconds: float
    speech: float
    magnitudes: float
    recordings: int

    @classmethod
    def of_recordings(
        cls,
        embeddings: np.ndarray,
        seconds: Sequence[float],
        weights: Sequence[float],
    ) -> "SpeakerTemplate":
        """Combine the embeddings of a speaker's recordings.

        Args:
            embeddings: (R, E), not length-normalised.
            seconds: Durations (R,) of the recordings.
            weights: Their weights (R,), above 0: seconds of speech.

        Raises:
            SVError: An embedding is zero, NaN or Inf; or they cancel each other.
        """
        unit = length_normalise(embeddings)
        direction, resultant = _direction(np.array(weights) @ unit.astype(np.float64))
        magnitudes = float(np.linalg.norm(embeddings.astype(np.float64), axis=1).sum())
        return cls(
            direction,
            resultant,
            float(sum(seconds)),
            float(sum(weights)),
            magnitudes,
            len(unit),
        )

    def __add__(self, other: "SpeakerTemplate") -> "SpeakerTemplate":
        """Return the template of the recordings of both."""
        total = np.float64(self.resultant) * self.embedding
        total = total + np.float64(other.resultant) * other.embedding
        direction, resultant = _direction(total)
        return SpeakerTemplate(
            direction,
            resultant,
            self.seconds + other.seconds,
            self.speech + other.speech,
            self.magnitudes + other.magnitudes,
            self.recordings + other.recordings,
        )

    @property
    def quality(self) -> Quality:
        """Total duration and mean magnitude, for calibration."""
        return Quality(self.seconds, self.magnitudes / self.recordings)


def _direction(total: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the direction, float32 of unit length, and the length of a vector (E,)."""
    length = float(np.linalg.norm(total))
    if not np.isfinite(length) or not length > 0:
        raise SVError(
            "the embeddings of a speaker's recordings cancel each other or are not"
            " finite; check that the recordings are of one speaker"
        )
    return (total / length).astype(np.float32), length


def check_name(name: str) -> str:
    """Return a speaker's name if it can be one.

    Raises:
        SVError: It is empty, too long, holds control characters or surrogates, or means
            that somebody is not enrolled.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        raise SVError(
            f"{printable(str(name), 100)!r} cannot be the name of a speaker; give one"
            f" of 1 to {LONGEST_NAME} characters"
        )
    if not name.isprintable():
        raise SVError(
            f"{printable(name)}: the name of a speaker has characters that cannot be"
            " printed; choose another"
        )
    if name == UNKNOWN:
        raise SVError(
            f"{UNKNOWN!r} is the answer for who is not enrolled; choose another name"
        )
    return name
