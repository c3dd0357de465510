"""VoxCeleb's published numbers of speakers and utterances, and checks against them."""

from collections.abc import Collection
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import Corpus, name_some


class PublishedCount(NamedTuple):
    """Numbers that a split of VoxCeleb is published with."""

    speakers: int
    utterances: int


# https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html and vox2.html
VOXCELEB1_DEV_COUNT = PublishedCount(1211, 148_642)
VOXCELEB1_TEST_COUNT = PublishedCount(40, 4_874)
VOXCELEB2_DEV_COUNT = PublishedCount(5994, 1_092_009)
VOXCELEB12_DEV_COUNT = PublishedCount(  # 7,205 speakers, 1,240,651 utterances
    VOXCELEB1_DEV_COUNT.speakers + VOXCELEB2_DEV_COUNT.speakers,
    VOXCELEB1_DEV_COUNT.utterances + VOXCELEB2_DEV_COUNT.utterances,
)


class Count(NamedTuple):
    """What was found of a split.

    Attributes:
        title: Name of the split.
        speakers: Number of speakers with at least one recording.
        utterances: Number of recordings.
        differences: One line for each difference from what was published.
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


def count_split(
    title: str, published: PublishedCount, corpus: Corpus, expected: Collection[str]
) -> Count:
    """Count the recordings of a split and compare them with what was published.

    Args:
        title: Name of the split, for messages.
        published: Published numbers.
        corpus: Recordings that were found.
        expected: Names of the speakers that the split should have; empty if unknown.
    """
    full = {speaker for speaker, utterances in corpus.items() if utterances}
    total = sum(map(len, corpus.values()))
    differences = [
        f"{title}: {_difference(found, wanted, what)}"
        for found, wanted, what in (
            (len(full), published.speakers, "speakers"),
            (total, published.utterances, "utterances"),
        )
        if found != wanted
    ]
    for speakers, what in (
        (corpus.keys() - full, "have a folder without recordings"),
        (set(expected) - corpus.keys(), "have no folder"),
        (full.difference(expected) if expected else set(), "are unknown"),
    ):
        if speakers:
            differences.append(
                f"{title}: {len(speakers):,} speakers {what}: {name_some(speakers)}"
            )
    return Count(title, len(full), total, differences)


def _difference(found: int, published: int, what: str) -> str:
    """E.g. ``5,990 of 5,994 speakers, 4 are missing``."""
    gap = published - found
    how = "are missing" if gap > 0 else "are too many"
    return f"{found:,} of {published:,} {what}, {abs(gap):,} {how}"
