"""Holding what was found of a corpus against what was published."""

import logging
import os
from collections.abc import Collection
from typing import NamedTuple

from espnet2_sv.data.corpora.speaker_tree import Corpus
from espnet2_sv.data.corpora.voxceleb import Split, listed_speakers
from espnet2_sv.errors import SVError

_NAMED = 5  # examples in a message


class Count(NamedTuple):
    """What was found of a share.

    Attributes:
        title: The share.
        speakers: With at least one recording.
        utterances: Recordings.
        differences: One line for each way in which it is not what was published.
    """

    title: str
    speakers: int
    utterances: int
    differences: list[str]

    def __str__(self) -> str:
        found = (
            f"{self.title}: {self.speakers:,} speakers, {self.utterances:,} utterances"
        )
        return f"{found}, {'not ' if self.differences else ''}as published"


def count_share(share: Split, corpus: Corpus, root: str | os.PathLike) -> Count:
    """Count a share's recordings and name what differs.

    Args:
        share: With the numbers that were published.
        corpus: What was found.
        root: The corpus's folder; a list of its speakers is looked for there.
    """
    full = {speaker for speaker, utterances in corpus.items() if utterances}
    total = sum(map(len, corpus.values()))
    differences = []
    if len(full) != share.speakers:
        differences.append(
            f"{share.title}: {_off(len(full), share.speakers, 'speakers')}"
        )
    if total != share.utterances:
        differences.append(
            f"{share.title}: {_off(total, share.utterances, 'utterances')}"
        )
    expected = set(listed_speakers(share, root))
    for speakers, what in (
        (corpus.keys() - full, "have a folder without recordings"),
        (expected - corpus.keys(), "have no folder"),
        (full - expected if expected else set(), "are unknown"),
    ):
        if speakers:
            differences.append(
                f"{share.title}: {len(speakers):,} speakers {what}: {name(speakers)}"
            )
    return Count(share.title, len(full), total, differences)


def accept(differences: list[str], allowed: bool) -> None:
    """Log what differs from what was published; raise SVError unless that is allowed."""
    for line in differences:
        logging.warning(line)
    if differences and not allowed:
        more = (
            f" ({len(differences) - 1} more, see above)" if len(differences) > 1 else ""
        )
        raise SVError(
            f"{differences[0]}{more}; complete the corpus, or go on with"
            " --allow_incomplete true"
        )


def name(items: Collection[str]) -> str:
    """Name the first few, e.g. ``id10001, id10002 and 7 more``."""
    shown = sorted(items)[:_NAMED]
    more = len(items) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _off(found: int, published: int, what: str) -> str:
    """E.g. ``5,990 of 5,994 speakers, 4 are missing``."""
    gap = published - found
    how = "are missing" if gap > 0 else "are too many"
    return f"{found:,} of {published:,} {what}, {abs(gap):,} {how}"
