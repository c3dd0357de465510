"""Who speaks in each trial, and whether that agrees with the labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import Trials


@dataclass(frozen=True)
class Speakers:
    """Who speaks in each trial.

    Attributes:
        enroll: (K,) int64 speaker of the enrolment side.
        test: (K,) int64 speaker of the test side.
        count: Number of speakers.
    """

    enroll: np.ndarray
    test: np.ndarray
    count: int

    def __getitem__(self, rows: np.ndarray) -> "Speakers":
        """The same for some of the trials, in the order of ``rows``; all speakers stay counted."""
        return Speakers(self.enroll[rows], self.test[rows], self.count)


def read_joined(paths: Iterable[str | PathLike]) -> dict[str, str]:
    """Read and join ``utt2spk`` or ``utt2dur`` files.

    Raises:
        SVError: A file is malformed, or a name has two values.
    """
    joined: dict[str, str] = {}
    for path in paths:
        for name, value in read_two_column(path).items():
            if joined.setdefault(name, value) != value:
                raise SVError(
                    f"{path}: {name} has {value} here and {joined[name]} in another"
                    " file; keep one"
                )
    return joined


def speakers_of(
    trials: Trials, utt2spk: Mapping[str, str], wanted_by: str = "the list"
) -> Speakers:
    """Look up the speakers of both sides of a trial list.

    Raises:
        SVError: A name has no speaker, or a label contradicts the speakers; it is
            named.
    """
    numbers: dict[str, int] = {}
    sides = []
    for names, index in (
        (trials.enroll_names, trials.enroll_index),
        (trials.test_names, trials.test_index),
    ):
        missing = [name for name in names if name not in utt2spk]
        if missing:
            raise SVError(
                f"utt2spk: has no speaker for {missing[0]}, which {wanted_by} names "
                f"({len(missing)} of {len(names)} are missing)"
            )
        codes = [numbers.setdefault(utt2spk[name], len(numbers)) for name in names]
        sides.append(np.array(codes, np.int64)[index])
    enroll, test = sides
    wrong = np.flatnonzero((enroll == test) != trials.labels)
    if len(wrong):
        trial = wrong[0]
        raise SVError(
            f"{wanted_by}: trial {trial + 1} is labelled"
            f" {'target' if trials.labels[trial] else 'nontarget'}, but utt2spk says"
            f" otherwise: '{trials.enroll_names[trials.enroll_index[trial]]}"
            f" {trials.test_names[trials.test_index[trial]]}' ({len(wrong)} such"
            " trials)"
        )
    return Speakers(enroll, test, len(numbers))


def require_unseen(
    tested: Iterable[str], train_utt2spk: Mapping[str, str], path: str
) -> None:
    """Refuse tests on speakers that were trained on.

    Raises:
        SVError: A tested speaker is among the training speakers; it is named.
    """
    shared = set(tested) & set(train_utt2spk.values())
    if shared:
        raise SVError(
            f"{path}: {len(shared)} of the tested speakers were trained on, as"
            f" {min(shared)}; results on them say nothing about new speakers"
        )
