"""Three fixed folds of the characters.

Every character with at least a minute of speech is a test speaker in one fold; no model
of that fold, the ASR model included, is trained on its voice. The folds have similar
numbers of high and low voices; Joe, who speaks as much as half of the others together,
is tested with those who speak least. Checkpoints, settings and calibration are chosen
on validation characters that the fold neither trains nor tests on: five, the fewest
that give ten pairs of speakers, since each of them is lost to training.
"""

from collections.abc import Collection
from itertools import combinations
from typing import NamedTuple

# Labels are characters, not actors: the two of a pair sound like the same actor. They
# are on one side of each split, one class in training, and never compared.
SAME_VOICE = (("LOU", "SPARKY"), ("CHIEF", "IAN"))
LEFT_OUT = ("DOG",)  # barks


class Fold(NamedTuple):
    """Test and validation characters; the others, except LEFT_OUT, are for training."""

    test: tuple[str, ...]
    valid: tuple[str, ...]

    def train(self, characters: Collection[str]) -> list[str]:
        """Return the training characters among ``characters``, sorted."""
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
    """Return a character's training class, e.g. ``LOU+SPARKY`` for either of them."""
    return next(("+".join(pair) for pair in SAME_VOICE if character in pair), character)


def comparable_pairs(characters: Collection[str]) -> list[tuple[str, str]]:
    """Return pairs of characters that do not sound like the same actor, sorted."""
    return [
        (a, b)
        for a, b in combinations(sorted(characters), 2)
        if voice_of(a) != voice_of(b)
    ]
