from itertools import combinations

import pytest
from fotaq.folds import (
    FOLDS,
    SAME_VOICE,
    comparable_pairs,
    voice_of,
)

# minutes of each character in the game
MINUTES = {
    **{"DOG": 0.3, "WEDGE": 0.4, "SHOWERAM": 0.6, "JOHN": 0.9, "AND": 1.1, "LOLA": 1.2},
    **{
        "CHEF": 1.6,
        "IAN": 1.9,
        "PRIN": 2.5,
        "MAN": 3.1,
        "FRANK": 3.2,
        "LARIS": 3.5,
        "HENRY": 3.9,
    },
    **{
        "LOU": 4.0,
        "ORACLE": 4.3,
        "NAOMI": 4.3,
        "APE": 4.6,
        "BUD": 4.8,
        "KLUNK": 4.8,
        "SEC": 4.9,
    },
    **{
        "FAYE": 5.4,
        "CHIEF": 5.6,
        "ZOMBIE": 5.7,
        "DEATH": 6.8,
        "JIM": 7.3,
        "SPARKY": 7.6,
    },
    **{"TAM": 8.1, "WITCH": 8.2, "BOB": 10.3, "JOE": 73.4},
}
EVERYBODY = tuple(MINUTES)


def test_every_character_with_a_minute_is_tested_once():
    tested = sorted(c for fold in FOLDS.values() for c in fold.test)
    assert tested == sorted(c for c, minutes in MINUTES.items() if minutes >= 1)


@pytest.mark.parametrize("fold", FOLDS.values(), ids=[f"fold{n}" for n in FOLDS])
def test_training_validation_and_test_are_apart(fold):
    train = fold.train(EVERYBODY)
    parts = [set(train), set(fold.valid), set(fold.test), {"DOG"}]
    for a, b in combinations(parts, 2):
        assert not a & b
    assert set().union(*parts) == set(EVERYBODY)
    for pair in SAME_VOICE:  # all of a pair are in one part
        assert sum(bool(part & set(pair)) for part in parts) == 1
    assert sum(MINUTES[c] for c in train) > 60


def test_who_sounds_alike_is_one_class_and_no_pair():
    assert voice_of("LOU") == voice_of("SPARKY") == "LOU+SPARKY"
    assert voice_of("IAN") == voice_of("CHIEF") == "CHIEF+IAN"
    assert voice_of("JOE") == "JOE"
    assert comparable_pairs(["SPARKY", "IAN", "LOU", "BOB"]) == [
        ("BOB", "IAN"),
        ("BOB", "LOU"),
        ("BOB", "SPARKY"),
        ("IAN", "LOU"),
        ("IAN", "SPARKY"),
    ]
