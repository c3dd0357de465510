"""Trial lists, their scores and their speakers: reading, writing and aligning."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.pairs import Column, Pairs, read_pairs
from espnet2_sv.textfile import parse_float

_LINES_PER_BLOCK = 1 << 20  # lines of a score file formatted at once


@dataclass(frozen=True)
class Trials(Pairs):
    """A list of trials.

    Attributes:
        labels: (K,) bool, true for target trials.
    """

    labels: np.ndarray


@dataclass(frozen=True)
class Scores(Pairs):
    """A score file.

    Attributes:
        scores: (K,) float64.
    """

    scores: np.ndarray


@dataclass(frozen=True)
class Speakers:
    """The speakers of each trial.

    Attributes:
        enroll: (K,) int64 speaker number of the enrolment side.
        test: (K,) int64 speaker number of the test side.
        count: Number of speakers.
    """

    enroll: np.ndarray
    test: np.ndarray
    count: int

    def __getitem__(self, rows: np.ndarray) -> "Speakers":
        """Select trials, in the order of ``rows``; ``count`` is that of the list."""
        return Speakers(self.enroll[rows], self.test[rows], self.count)


def _parse_label(field: str) -> bool:
    return bool(("nontarget", "target").index(field))


def _parse_score(field: str) -> float:
    return parse_float(field)


_LABEL = Column(
    "enroll_utt test_utt target|nontarget",
    pa.bool_(),
    _parse_label,
    "target",
    "nontarget",
)
_SCORE = Column("enroll_utt test_utt score", pa.float64(), _parse_score)


def read_trials(path: str | PathLike) -> Trials:
    """Read a file of ``enroll_utt test_utt target|nontarget`` lines.

    Raises:
        SVError: The file is missing or empty, a line is malformed (its number is
            given), or a pair appears as both target and nontarget.
    """
    pairs, labels = read_pairs(path, _LABEL)
    return Trials(
        pairs.enroll_names,
        pairs.test_names,
        pairs.enroll_index,
        pairs.test_index,
        labels,
    )


def read_scores(path: str | PathLike) -> Scores:
    """Read a file of ``enroll_utt test_utt score`` lines.

    Raises:
        SVError: The file is missing or empty, a line is malformed, a score is NaN or
            Inf, or a pair appears twice with different scores.
    """
    pairs, scores = read_pairs(path, _SCORE)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise SVError(
            f"{path}: line {bad[0] + 1}: the score is NaN or Inf ({len(bad)} such"
            " lines); check the embeddings of that trial"
        )
    return Scores(
        pairs.enroll_names,
        pairs.test_names,
        pairs.enroll_index,
        pairs.test_index,
        scores,
    )


def write_scores(path: str | PathLike, pairs: Pairs, scores: np.ndarray) -> None:
    """Write ``enroll_utt test_utt score`` lines.

    Args:
        path: File to write or replace.
        pairs: The K pairs.
        scores: (K,); all digits of their type are written.
    """
    enroll_names, test_names = pa.array(pairs.enroll_names), pa.array(pairs.test_names)
    with atomic_write(path, "wb") as f:
        for start in range(0, len(pairs), _LINES_PER_BLOCK):
            part = slice(start, start + _LINES_PER_BLOCK)
            lines = pc.binary_join_element_wise(
                enroll_names.take(pa.array(pairs.enroll_index[part])),
                test_names.take(pa.array(pairs.test_index[part])),
                pc.binary_join_element_wise(
                    pc.cast(pa.array(scores[part]), pa.string()), "", "\n"
                ),
                " ",
            )
            # The text buffer of an Arrow string array is contiguous: the lines as they
            # appear in the file.
            f.write(lines.buffers()[2])


def align_scores(
    pairs: Pairs, scores: Scores, path: str | PathLike = "the scores"
) -> np.ndarray:
    """Return the score (K,) of each pair of a list, in the list's order.

    Args:
        pairs: The list.
        scores: Scores of at least these pairs, in any order.
        path: Name of the scores in messages.

    Raises:
        SVError: A pair has no score; it is named.
    """
    if _same_lines(pairs, scores):
        return scores.scores
    codes = codes_in(pairs, scores)
    theirs = scores.pair_codes()
    order = np.argsort(theirs)
    place = np.minimum(np.searchsorted(theirs, codes, sorter=order), len(order) - 1)
    rows = order[place]
    missing = np.flatnonzero(theirs[rows] != codes)
    if len(missing):
        raise SVError(
            f"{path}: has no score for the trial '{pairs.line(missing[0])}'"
            f" ({len(missing)} of {len(pairs)} trials are missing); score the same list"
        )
    unused = len(scores) - len(np.unique(rows))
    if unused:
        logging.warning(
            f"{path}: {unused} scores belong to no trial in the list and are ignored"
        )
    return scores.scores[rows]


def _same_lines(a: Pairs, b: Pairs) -> bool:
    return (
        len(a) == len(b)
        and a.enroll_names == b.enroll_names
        and a.test_names == b.test_names
        and np.array_equal(a.enroll_index, b.enroll_index)
        and np.array_equal(a.test_index, b.test_index)
    )


def codes_in(pairs: Pairs, other: Pairs) -> np.ndarray:
    """Codes (K,) of ``pairs`` in the numbering of ``other``; -1 for unknown names."""
    enroll = {name: i for i, name in enumerate(other.enroll_names)}
    test = {name: i for i, name in enumerate(other.test_names)}
    left = np.array([enroll.get(n, -1) for n in pairs.enroll_names], np.int64)[
        pairs.enroll_index
    ]
    right = np.array([test.get(n, -1) for n in pairs.test_names], np.int64)[
        pairs.test_index
    ]
    codes = left * len(other.test_names) + right
    codes[(left < 0) | (right < 0)] = -1
    return codes


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

    Args:
        trials: The list.
        utt2spk: Speaker of each name.
        wanted_by: Name of the list in messages.

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
                f"utt2spk: has no speaker for {missing[0]}, which is in {wanted_by} "
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
            f" {'target' if trials.labels[trial] else 'nontarget'}, which contradicts"
            f" utt2spk: '{trials.line(trial)}' ({len(wrong)} such trials)"
        )
    return Speakers(enroll, test, len(numbers))


def require_unseen(
    tested: Iterable[str], train_utt2spk: Mapping[str, str], path: str
) -> None:
    """Reject trials of speakers that the model was trained on.

    Raises:
        SVError: A tested speaker is among the training speakers; it is named.
    """
    shared = set(tested) & set(train_utt2spk.values())
    if shared:
        raise SVError(
            f"{path}: {len(shared)} of the tested speakers are training speakers, e.g."
            f" {min(shared)}; speaker overlap inflates results, hold them out"
        )
