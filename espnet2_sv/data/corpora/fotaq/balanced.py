"""Trials in which every character counts alike, however much it says."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import rank
from espnet2_sv.data.corpora.data_dirs import Trial
from espnet2_sv.data.corpora.fotaq.folds import comparable_pairs

# for each character its utterances' names, and what is said in each (empty where not
# known)
Speech = Mapping[str, Mapping[str, frozenset[str]]]


class Sizes(NamedTuple):
    """How many trials to take, at most.

    Attributes:
        target: Target trials of each character.
        nontarget: Nontarget trials of each pair of characters.
    """

    target: int = 500
    nontarget: int = 300


class Models(NamedTuple):
    """Enrolment by several utterances.

    Attributes:
        members: Each model's utterances.
        character_of: Each model's character.
        tests: For each character the utterances that enrol no model.
    """

    members: dict[str, list[str]]
    character_of: dict[str, str]
    tests: dict[str, list[str]]


def pair_utterances(speech: Speech, sizes: Sizes, seed: int) -> list[Trial]:
    """Pair utterances with utterances.

    Two of a character that share a text may be one take used twice, and are no trial;
    nor are those of two characters that sound like one actor.
    """
    trials: list[Trial] = []
    for utts in speech.values():
        pairs = (
            p for p in combinations(sorted(utts), 2) if not utts[p[0]] & utts[p[1]]
        )
        trials += _choose(pairs, "target", sizes.target, seed)
    for a, b in comparable_pairs(speech):
        trials += _choose(
            product(sorted(speech[a]), sorted(speech[b])),
            "nontarget",
            sizes.nontarget,
            seed,
        )
    return sorted(trials)


def make_models(speech: Speech, utterances: int, most: int, seed: int) -> Models:
    """Choose utterances for models; half of a character's speech at most enrols.

    Args:
        speech: What to choose from.
        utterances: That enrol one model.
        most: Models of one character, at most.
        seed: Of the choice.
    """
    models = Models({}, {}, {})
    for character, utts in speech.items():
        order = rank(utts, seed)
        count = min(most, len(order) // (2 * utterances))
        for i in range(count):
            model = f"{character}-model{i + 1}"
            models.members[model] = sorted(order[i * utterances : (i + 1) * utterances])
            models.character_of[model] = character
        models.tests[character] = sorted(order[count * utterances :])
    return models


def pair_models(models: Models, speech: Speech, sizes: Sizes, seed: int) -> list[Trial]:
    """Pair models with test utterances, as :func:`pair_utterances` does utterances."""
    by_character: dict[str, list[str]] = {}
    for model, character in models.character_of.items():
        by_character.setdefault(character, []).append(model)
    trials: list[Trial] = []
    for character, own in by_character.items():
        said = speech[character]
        pairs = (
            (model, utt)
            for model, utt in product(own, models.tests[character])
            if not said[utt]
            & frozenset().union(*(said[u] for u in models.members[model]))
        )
        trials += _choose(pairs, "target", sizes.target, seed)
    for a, b in comparable_pairs(speech):
        pairs = [
            pair
            for enrol, test in ((a, b), (b, a))
            for pair in product(by_character.get(enrol, ()), models.tests[test])
        ]
        trials += _choose(pairs, "nontarget", sizes.nontarget, seed)
    return sorted(trials)


def _choose(
    pairs: Iterable[Sequence[str]], label: str, most: int, seed: int
) -> list[Trial]:
    chosen = rank((" ".join(pair) for pair in pairs), seed)[:most]
    return [Trial(*pair.split(), label) for pair in chosen]
