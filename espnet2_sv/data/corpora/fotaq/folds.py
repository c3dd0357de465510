"""Three fixed splits of the characters, the same for everybody.

Every character with a minute of speech or more is tested in one fold; what that fold
trains, the ASR model included, does not know its voice. The folds have like numbers of
high and low voices, and Joe, who has as much to say as half of the others together,
stands beside those who say least. Validation, on which checkpoints, settings and
calibration are chosen, is of characters that are neither trained on nor tested in the
    fold: five, as few as give ten pairs of speakers, for each one
is missing in training.
"""

from collections.abc import Collection
from itertools import combinations
from typing import NamedTuple

# Labels are characters, not actors: these sound like one actor each. They are on one
# side of each split, one class in training, and never compared with each other.
SAME_VOICE = (("LOU", "SPARKY"), ("CHIEF", "IAN"))
LEFT_OUT = ("DOG",)  # which barks


class Fold(NamedTuple):
    """The characters of a fold; all others but those left out are trained on."""

    test: tuple[str, ...]
    valid: tuple[str, ...]

    def train(self, characters: Collection[str]) -> list[str]:
        """Those of ``characters`` to train on, sorted."""
        return sorted(set(characters).difference(self.test, self.valid, LEFT_OUT))


FOLDS = {
    1: Fold(
        test=("CHEF", "FAYE", "FRANK", "HENRY", "JOE", "LARIS", "LOLA", "MAN"),
        valid=("BUD", "KLUNK", "NAOMI", "ORACLE", "PRIN"),
    ),
    2: Fold(
        test=(
            "AND",
            "BOB",
            "BUD",
            "KLUNK",
            "LOU",
            "NAOMI",
            "SPARKY",
            "WITCH",
            "ZOMBIE",
        ),
        valid=("FAYE", "HENRY", "LARIS", "MAN", "SEC"),
    ),
    3: Fold(
        test=("APE", "CHIEF", "DEATH", "IAN", "JIM", "ORACLE", "PRIN", "SEC", "TAM"),
        valid=("BUD", "FRANK", "KLUNK", "MAN", "NAOMI"),
    ),
}


def voice_of(character: str) -> str:
    """The training class of a character, e.g. ``LOU+SPARKY`` for either of them."""
    return next(("+".join(pair) for pair in SAME_VOICE if character in pair), character)


def comparable_pairs(characters: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of different characters that do not sound like one actor, sorted."""
    return [
        (a, b)
        for a, b in combinations(sorted(characters), 2)
        if voice_of(a) != voice_of(b)
    ]
