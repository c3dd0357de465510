"""Score files: reading, writing, and putting them in the order of a trial list."""

import logging
import math
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.pairs import Column, Pairs, read_pairs

_LINES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Scores(Pairs):
    """A file of scores.

    Attributes:
        scores: (K,) float64.
    """

    scores: np.ndarray


def _parse_score(field: str) -> float:
    score = float(field)
    if not math.isfinite(score):
        raise ValueError
    return score


_SCORE = Column("enroll_utt test_utt score", pa.float64(), _parse_score)


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
            " lines); look at the embeddings of that trial"
        )
    return Scores(
        pairs.enroll_names,
        pairs.test_names,
        pairs.enroll_index,
        pairs.test_index,
        scores,
    )


def write_scores(path: str | PathLike, pairs: Pairs, scores: np.ndarray) -> None:
    """Write ``enroll_utt test_utt score`` lines with the digits that the type of ``scores`` has."""
    enroll_names, test_names = pa.array(pairs.enroll_names), pa.array(pairs.test_names)
    with atomic_write(path, "wb") as f:
        for start in range(0, len(pairs), _LINES_AT_ONCE):
            part = slice(start, start + _LINES_AT_ONCE)
            lines = pc.binary_join_element_wise(
                enroll_names.take(pa.array(pairs.enroll_index[part])),
                test_names.take(pa.array(pairs.test_index[part])),
                pc.binary_join_element_wise(
                    pc.cast(pa.array(scores[part]), pa.string()), "", "\n"
                ),
                " ",
            )
            # An Arrow string array keeps its text end to end: the lines as they stand
            # in a file.
            f.write(lines.buffers()[2])


def align_scores(
    pairs: Pairs, scores: Scores, path: str | PathLike = "the scores"
) -> np.ndarray:
    """Return the score (K,) of each pair of a list, in the list's order.

    Args:
        pairs: The list.
        scores: Scores of at least these pairs, in any order.
        path: What to call the scores in messages.

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
        trial = missing[0]
        raise SVError(
            f"{path}: has no score for the trial"
            f" '{pairs.enroll_names[pairs.enroll_index[trial]]}"
            f" {pairs.test_names[pairs.test_index[trial]]}' ({len(missing)} of"
            f" {len(pairs)} trials are missing); score the same list"
        )
    unused = len(scores) - len(np.unique(rows))
    if unused:
        logging.warning(
            f"{path}: {unused} scores are of no trial in the list and are not used"
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
    """Codes of ``pairs`` in the numbering of ``other``; -1 where a name is not in it."""
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
