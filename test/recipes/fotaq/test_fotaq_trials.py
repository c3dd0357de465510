from collections import Counter

import pytest
from fotaq.trials import (
    Sizes,
    make_models,
    pair_models,
    pair_utterances,
)

SIZES = Sizes(target=12, nontarget=20)


@pytest.fixture
def speech():
    """Of some characters 3 to 20 utterances; every third utterance says the same."""
    counts = {"BOB": 20, "CHIEF": 16, "IAN": 8, "LOU": 9, "SPARKY": 20, "LOLA": 3}
    return {
        c: {
            f"{c}-{i:02d}": frozenset(["AGAIN"] if i % 3 == 0 else []) for i in range(n)
        }
        for c, n in counts.items()
    }


def character(name: str) -> str:
    return name.split("-")[0]


def check(trials, speech):
    """What holds for every list; returns how many there are of each label and pair."""
    assert trials == sorted(set(trials))
    found = Counter()
    for enroll, test, label in trials:
        pair = tuple(sorted((character(enroll), character(test))))
        assert (label == "target") == (pair[0] == pair[1])
        assert pair not in (("LOU", "SPARKY"), ("CHIEF", "IAN"))
        found[pair] += 1
    return found


def test_utterances_are_paired_with_none_too_many_of_anybody(speech):
    trials = pair_utterances(speech, SIZES, 0)
    found = check(trials, speech)
    for a in speech:
        assert found[a, a] == (3 if a == "LOLA" else 12)
        for b in speech:
            if a < b and (a, b) not in (("LOU", "SPARKY"), ("CHIEF", "IAN")):
                assert found[a, b] == (
                    20 if len(speech[a]) * len(speech[b]) > 20 else 0
                )
    for enroll, test, label in trials:
        said = [speech[character(u)][u] for u in (enroll, test)]
        assert label == "nontarget" or not said[0] & said[1]


def test_all_pairs_are_taken_where_there_are_no_more(speech):
    few = {c: speech[c] for c in ("IAN", "LOLA")}
    found = check(pair_utterances(few, Sizes(1000, 1000), 0), few)
    # 28 and 3 pairs, less 3 of the three and 1 of the one that say the same
    assert found == {("IAN", "IAN"): 28 - 3, ("LOLA", "LOLA"): 3, ("IAN", "LOLA"): 24}


def test_the_seed_decides_and_nothing_else(speech):
    turned = dict(reversed(speech.items()))
    assert pair_utterances(turned, SIZES, 0) == pair_utterances(speech, SIZES, 0)
    assert pair_utterances(speech, SIZES, 1) != pair_utterances(speech, SIZES, 0)


def test_models_take_at_most_half_and_no_test_utterance(speech):
    models = make_models(speech, 4, 2, 0)
    counts = Counter(models.character_of.values())
    assert counts == {"BOB": 2, "CHIEF": 2, "IAN": 1, "LOU": 1, "SPARKY": 2}
    for c, utts in speech.items():
        own = [
            u
            for m, of in models.character_of.items()
            if of == c
            for u in models.members[m]
        ]
        assert len(own) == len(set(own)) == 4 * counts[c]
        assert sorted(own + models.tests[c]) == sorted(utts)


def test_models_are_paired_with_test_utterances(speech):
    models = make_models(speech, 4, 2, 0)
    trials = pair_models(models, speech, SIZES, 0)
    found = check(trials, speech)
    assert found["BOB", "BOB"] == found["SPARKY", "SPARKY"] == 12
    assert found["BOB", "CHIEF"] == found["BOB", "IAN"] == 20
    for model, test, label in trials:
        assert model in models.members
        assert test in models.tests[character(test)]
        if label == "target":
            said = speech[character(test)]
            assert not any(said[u] & said[test] for u in models.members[model])
