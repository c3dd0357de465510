"""Speed perturbation: each speed of a recording counts as a recording of another speaker."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.errors import SVError

ORIGINAL = Fraction(1)
_MOST_DECIMALS = 3  # a speed is a ratio of small numbers, so that resampling is exact
_SLOWEST, _FASTEST = Fraction(1, 2), Fraction(2)


class Speeds:
    """The speeds that a training plays its recordings at, as sox's ``speed`` does.

    At speed v a recording is 1 / v times as long and its frequencies are v times as
    high. The original comes first, the others follow in ascending order, whatever order
    they are given in. With S speakers, speaker s at the k-th speed is class ``s + S *
    k``; with N utterances, utterance u at that speed is entry ``u + N * k``. So the
    first S classes are those of a training without perturbation.

    Attributes:
        factors: The speeds, as fractions.
    """

    def __init__(self, factors: Iterable[float] = (1.0,)):
        """Take the speeds.

        Raises:
            SVError: The original speed is missing, one is there twice or out of range.
        """
        factors = list(factors)
        exact = [_fraction(factor) for factor in factors]
        if ORIGINAL not in exact:
            raise SVError(
                f"speed_perturb_factors are {factors}; 1.0 must be among them, for it"
                " is the speed that is tested"
            )
        if len(set(exact)) != len(exact):
            raise SVError(f"speed_perturb_factors are {factors}; name each speed once")
        self.factors = (ORIGINAL, *sorted(set(exact) - {ORIGINAL}))

    def __len__(self) -> int:
        return len(self.factors)

    def name(self, index: int, of: str) -> str:
        """Name utterance or speaker ``of`` at a speed: ``id1``, ``sp0.9-id1``."""
        return of if index == 0 else f"sp{float(self.factors[index]):g}-{of}"

    def classes(self, speakers: SpeakerLabels) -> SpeakerLabels:
        """Return the classes of all speakers at all speeds."""
        return SpeakerLabels(
            [
                self.name(k, speaker)
                for k in range(len(self))
                for speaker in speakers.speakers
            ]
        )

    def labels(self, labels: np.ndarray, num_speakers: int) -> np.ndarray:
        """Return the class of each entry (N * speeds,) from each utterance's speaker (N,)."""
        steps = num_speakers * np.arange(len(self), dtype=labels.dtype)
        return (steps[:, None] + labels).ravel()

    def require_original_only(self, why: str) -> None:
        """Raise SVError, saying ``why``, if there are other speeds than the original."""
        if len(self) > 1:
            others = ", ".join(f"{float(factor):g}" for factor in self.factors[1:])
            raise SVError(f"speed_perturb_factors has {others}: {why}")


def _fraction(factor: float) -> Fraction:
    try:
        exact = Fraction(str(factor))
    except ValueError:
        raise SVError(f"speed_perturb_factors: {factor!r} is not a number") from None
    if (
        not _SLOWEST <= exact <= _FASTEST
        or (exact * 10**_MOST_DECIMALS).denominator != 1
    ):
        raise SVError(
            f"speed_perturb_factors: {factor} is not a speed from {float(_SLOWEST)} to "
            f"{float(_FASTEST)} with at most {_MOST_DECIMALS} decimals"
        )
    return exact
