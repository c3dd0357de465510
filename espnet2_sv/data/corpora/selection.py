"""Choosing speakers and utterances by chance, so that anybody chooses the same ones.

Names are ranked by a hash of the seed and the name. What is chosen does not depend on
the order of files or on a library's random numbers, and hardly on what else there is:
where a speaker is missing, the next one takes the place, and the others stay.
"""

import hashlib
from collections.abc import Iterable

from espnet2_sv.data.corpora.speaker_tree import Corpus


def rank(names: Iterable[str], seed: int) -> list[str]:
    """Put names into an order that only the seed and the names decide."""
    return sorted(names, key=lambda name: (_hash(f"{seed} {name}"), name))


def limit_utterances(corpus: Corpus, limit: int, seed: int) -> Corpus:
    """Keep at most ``limit`` utterances of each speaker, chosen by ``seed``."""
    limited = {}
    for speaker, utterances in corpus.items():
        kept = set(rank((utt for utt, _ in utterances), seed)[:limit])
        limited[speaker] = [(utt, audio) for utt, audio in utterances if utt in kept]
    return limited


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
