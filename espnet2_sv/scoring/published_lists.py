"""Recognition of published trial lists.

Results on the original and on the cleaned VoxCeleb1 lists differ, so reports name the
list that was used.
"""

import re
from dataclasses import dataclass

import numpy as np

from espnet2_sv.scoring.trials import Trials

# Speaker in a VoxCeleb1 utterance name, e.g. id10270/x6uYqmx31kE/00001.wav, also with -
# or _ instead of /
_VOXCELEB1 = re.compile(r"(id1[01]\d{3})[-_/]")


@dataclass(frozen=True)
class PublishedList:
    """A published trial list."""

    name: str
    n_target: int
    n_nontarget: int
    n_speakers: int


PUBLISHED = (
    PublishedList("VoxCeleb1-O", 18860, 18860, 40),
    PublishedList("VoxCeleb1-O (cleaned)", 18802, 18809, 40),
    PublishedList("VoxCeleb1-E", 290743, 290737, 1251),
    PublishedList("VoxCeleb1-E (cleaned)", 289921, 289897, 1251),
    PublishedList("VoxCeleb1-H", 276270, 276266, 1190),
    PublishedList("VoxCeleb1-H (cleaned)", 275488, 275406, 1190),
)


@dataclass(frozen=True)
class ListIdentity:
    """A trial list as recognised.

    Attributes:
        name: Name of the published list; None for any other.
        note: A sentence for reports.
    """

    name: str | None
    note: str


def identify_list(trials: Trials) -> ListIdentity:
    """Match counts, names and speakers of a list against the published lists."""
    n_target = int(np.count_nonzero(trials.labels))
    n_nontarget = len(trials) - n_target
    counts = f"{n_target:,} target and {n_nontarget:,} nontarget trials"
    alike = [
        p for p in PUBLISHED if (p.n_target, p.n_nontarget) == (n_target, n_nontarget)
    ]
    n_speakers = _count_voxceleb1_speakers(trials)
    if alike and n_speakers == alike[0].n_speakers:
        return ListIdentity(
            alike[0].name, f"{alike[0].name}: {counts} of {n_speakers} speakers."
        )
    if alike:
        return ListIdentity(
            None,
            f"{counts}, as many as in {alike[0].name}, but of other utterances; compare"
            " only with results on the same list.",
        )
    if n_speakers:
        sizes = ", ".join(
            f"{p.name} has {p.n_target + p.n_nontarget:,}" for p in PUBLISHED
        )
        return ListIdentity(
            None,
            f"{counts} of VoxCeleb1 utterances. None of its published lists has these"
            f" counts ({sizes}), so do not compare with published results.",
        )
    return ListIdentity(None, f"{counts}; compare only with results on the same list.")


def _count_voxceleb1_speakers(trials: Trials) -> int | None:
    """Count speakers; None if names are not VoxCeleb1's or contradict the labels."""
    sides = []
    for names in (trials.enroll_names, trials.test_names):
        found = [match for name in names if (match := _VOXCELEB1.search(name))]
        if len(found) < len(names):
            return None
        sides.append([int(match[1][2:]) for match in found])
    enroll, test = (np.array(side) for side in sides)
    same = enroll[trials.enroll_index] == test[trials.test_index]
    if not np.array_equal(same, trials.labels):
        return None
    return len({*sides[0], *sides[1]})
