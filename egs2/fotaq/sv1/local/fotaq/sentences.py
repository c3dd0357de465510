"""English sentences to be spoken by a computer: the examples of WordNet."""

import os
import re
from pathlib import Path

from espnet2_sv.data.corpora.corpus import rank
from espnet2_sv.errors import SVError

from .transcripts import normalise

_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
# what follows the bar of "00004032 29 v ... | heave a sigh; "She sighed sadly""
_EXAMPLE = re.compile(r'"([^"]+)"')
# Numbers and signs would be read as words that the text does not have
_PLAIN = re.compile(r"[A-Za-z' .,;:!?()`-]+")
# Words of an utterance, like those of the game
_FEWEST, _MOST = 3, 16


def read_sentences(wordnet: str | os.PathLike, seed: int = 0) -> list[str]:
    """Read the example sentences of WordNet 3.0, 41,748, in random order.

    Args:
        wordnet: Folder with ``data.noun`` and so on.
        seed: Seed of the order.

    Returns:
        Normalised sentences of 3 to 16 words, each once.

    Raises:
        SVError: A file is missing or has no examples.
    """
    found: set[str] = set()
    for name in _FILES:
        path = Path(wordnet, name)
        try:
            lines = path.read_text(encoding="latin-1").splitlines()
        except OSError as e:
            raise SVError(
                f"{path}: cannot be read ({e.strerror}); it is in Debian's wordnet-base"
            ) from e
        before = len(found)
        for line in lines:
            for example in _EXAMPLE.findall(line.partition(" | ")[2]):
                sentence = normalise(example.replace("`", "'"))
                words = len(sentence.split())
                if _PLAIN.fullmatch(example) and _FEWEST <= words <= _MOST:
                    found.add(sentence)
        if len(found) == before:
            raise SVError(f"{path}: holds no examples, so it is not WordNet's")
    return rank(found, seed)
