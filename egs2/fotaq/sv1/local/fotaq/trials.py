"""Trials with a bounded number per character and per pair of characters."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import rank
from espnet2_sv.data.corpora.data_dirs import Trial

from .folds import comparable_pairs

# for each character the texts spoken in each utterance (empty if unknown)
Speech = Mapping[str, Mapping[str, frozenset[str]]]


class Sizes(NamedTuple):
    """Maximum numbers of trials.

    Attributes:
        target: Target trials per character.
        nontarget: Nontarget trials per pair of characters.
    """

    target: int = 500
    nontarget: int = 300


class Models(NamedTuple):
    """Enrolment by several utterances.

    Attributes:
        members: Utterances of each model.
        character_of: Character of each model.
        tests: For each character the utterances that enrol no model.
    """

    members: dict[str, list[str]]
    character_of: dict[str, str]
    tests: dict[str, list[str]]


def pair_utterances(speech: Speech, sizes: Sizes, seed: int) -> list[Trial]:
    """Pair utterances with utterances.

    Two utterances of a character that share a text may be the same take and are not
    paired; nor are utterances of two characters that sound like the same actor.
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
    """Choose enrolment utterances; at most half of a character's utterances.

    Args:
        speech: Utterances to choose from.
        utterances: Enrolment utterances per model.
        most: Maximum number of models per character.
        seed: Seed of the selection.
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
