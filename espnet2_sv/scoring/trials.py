"""Trial lists: which pairs to compare, and whether the speakers are the same."""

from dataclasses import dataclass
from os import PathLike

import numpy as np
import pyarrow as pa

from espnet2_sv.scoring.pairs import Column, Pairs, read_pairs


@dataclass(frozen=True)
class Trials(Pairs):
    """A list of trials.

    Attributes:
        labels: (K,) bool, true for target trials.
    """

    labels: np.ndarray


def _parse_label(field: str) -> bool:
    return bool(("nontarget", "target").index(field))


_LABEL = Column(
    "enroll_utt test_utt target|nontarget",
    pa.bool_(),
    _parse_label,
    "target",
    "nontarget",
)


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
