"""How many seconds of speech a recording must have to be compared."""

import logging
from dataclasses import dataclass

from espnet2_sv.errors import SVError

# Seconds that a recording counts for at least, where none are required
LEAST_WEIGHT = 0.01


@dataclass(frozen=True)
class SpeechLimits:
    """How much speech a recording must have.

    Attributes:
        refuse_below: Seconds of speech below which a recording is refused.
        warn_below: Seconds of speech below which there is a warning; of several
            recordings of one speaker, their sum.
    """

    refuse_below: float = 0.25
    warn_below: float = 2.0

    def check(self, seconds: float) -> None:
        """Refuse a recording with too little speech.

        Raises:
            SVError: It has less than :attr:`refuse_below`.
        """
        if seconds < self.refuse_below:
            raise SVError(
                f"{seconds:.2f} s of speech found, {self.refuse_below:g} s are"
                " needed; replace the recording, or lower min_speech (0 takes all)"
            )

    def warn(self, name: str, seconds: float) -> None:
        """Log a warning if there is little speech."""
        if seconds < self.warn_below:
            logging.warning(
                f"{name}: only {seconds:.1f} s of speech found; decisions on less than"
                f" {self.warn_below:g} s are unreliable"
            )
