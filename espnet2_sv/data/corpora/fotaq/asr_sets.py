"""Which texts an ASR model learns, is stopped on, and is tested on."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import rank


class ASRSets(NamedTuple):
    """The texts of each set's utterances; no text of ``train`` is in another set.

    Attributes:
        train: Of the fold's training characters.
        dev: Of the same, for stopping.
        test_seen: Of the same, for testing.
        test_unseen: Of the fold's test characters.
    """

    train: dict[str, str]
    dev: dict[str, str]
    test_seen: dict[str, str]
    test_unseen: dict[str, str]


def split_texts(
    texts: Mapping[str, str],
    character_of: Mapping[str, str],
    train: Iterable[str],
    test: Iterable[str],
    share: float,
    seed: int,
) -> ASRSets:
    """Split by text, since characters say many a sentence again.

    Args:
        texts: Of all utterances, normalised.
        character_of: Who says each.
        train: Training characters.
        test: Test characters.
        share: Of their different texts that goes to ``dev``, and to ``test_seen``.
        seed: Of the choice.
    """
    train, test = set(train), set(test)
    pool = {utt: text for utt, text in texts.items() if character_of[utt] in train}
    order = rank(set(pool.values()), seed)
    size = max(1, round(share * len(order)))
    dev, seen = set(order[:size]), set(order[size : 2 * size])
    learnt = set(order[2 * size :])
    return ASRSets(
        {utt: text for utt, text in pool.items() if text in learnt},
        {utt: text for utt, text in pool.items() if text in dev},
        {utt: text for utt, text in pool.items() if text in seen},
        {u: t for u, t in texts.items() if character_of[u] in test and t not in learnt},
    )
