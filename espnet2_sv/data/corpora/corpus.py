"""A corpus in memory: selections by seed, and reports of what is missing.

Names are ranked by a hash of seed and name, so that a selection depends neither on the
order of files nor on a library's random numbers: without a selected speaker, the next
one takes its place and the others stay.
"""

import hashlib
import logging
from collections.abc import Collection, Iterable

from espnet2_sv.data.validation_report import name_first
from espnet2_sv.errors import SVError

# (utterance, audio) pairs of each speaker, in the order of the utterances' names
Corpus = dict[str, list[tuple[str, str]]]


def rank(names: Iterable[str], seed: int) -> list[str]:
    """Return the names in an order that depends only on seed and names."""
    return sorted(names, key=lambda name: (_hash(f"{seed} {name}"), name))


def limit_utterances(corpus: Corpus, limit: int, seed: int) -> Corpus:
    """Keep at most ``limit`` utterances of each speaker, selected by ``seed``."""
    limited = {}
    for speaker, utterances in corpus.items():
        kept = set(rank((utt for utt, _ in utterances), seed)[:limit])
        limited[speaker] = [(utt, audio) for utt, audio in utterances if utt in kept]
    return limited


def require_complete(differences: list[str], allowed: bool) -> None:
    """Log differences from the published corpus; SVError unless they are allowed."""
    for line in differences:
        logging.warning(line)
    if differences and not allowed:
        more = (
            f" ({len(differences) - 1} more, see above)" if len(differences) > 1 else ""
        )
        raise SVError(
            f"{differences[0]}{more}; complete the corpus, or continue"
            " with --allow_incomplete true"
        )


def name_some(items: Collection[str]) -> str:
    """List the first few names, e.g. ``id10001, id10002, id10003 and 7 more``."""
    return name_first(sorted(items))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
