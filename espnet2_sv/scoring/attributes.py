"""Breaking results down by what is known of trials or utterances (gender, language, duration)."""

import itertools
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.pairs import Column, read_pairs
from espnet2_sv.scoring.scores import codes_in
from espnet2_sv.scoring.trials import Trials

MAX_VALUES = 100  # more groups than this are not a breakdown
_MAX_NUMBERS = 20  # more distinct numbers than this are put into quartiles

_ATTRIBUTE = Column("enroll_utt test_utt value", pa.string(), str)


@dataclass(frozen=True)
class Groups:
    """Trials put into groups.

    Attributes:
        names: The values that occur.
        index: (K,) index into ``names`` of each trial.
    """

    names: list[str]
    index: np.ndarray


def read_attribute(path: str | PathLike, trials: Trials) -> Groups:
    """Read an attribute and give each trial its value.

    Args:
        path: ``enroll_utt test_utt value`` lines, or ``utt value`` lines such as
            ``utt2gender`` or ``utt2dur``: a trial then has the common value of its
            sides, ``a / b`` if they differ, or, of many different numbers, the quartile
            of the smaller one.
        trials: The list.

    Raises:
        SVError: A line is malformed, a trial has no value, or there are too many
            values.
    """
    groups = (_of_trials if _first_fields(path) == 3 else _of_utterances)(path, trials)
    if len(groups.names) > MAX_VALUES:
        raise SVError(
            f"{path}: {len(groups.names)} different values; group them into"
            f" {MAX_VALUES} or fewer"
        )
    return groups


def breakdown(scores: np.ndarray, labels: np.ndarray, groups: Groups) -> dict[str, Any]:
    """Describe the trials of each group; those of one class only have a reason and no rates."""
    result: dict[str, Any] = {}
    for number, name in enumerate(groups.names):
        rows = np.flatnonzero(groups.index == number)
        try:
            result[name] = describe(scores[rows], labels[rows])
        except SVError as e:
            n_target = int(np.count_nonzero(labels[rows]))
            counts = {"n_target": n_target, "n_nontarget": len(rows) - n_target}
            result[name] = counts | {"eer": None, "reason": str(e)}
    return result


def _first_fields(path: str | PathLike) -> int:
    try:
        with open(path, encoding="utf-8") as lines:
            return len(next(lines, "").split())
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e


def _of_trials(path: str | PathLike, trials: Trials) -> Groups:
    pairs, values = read_pairs(path, _ATTRIBUTE)
    known = pairs.pair_codes()
    order = np.argsort(known)
    wanted = codes_in(trials, pairs)
    rows = order[
        np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)
    ]
    _require(path, trials, known[rows] == wanted)
    coded = pa.array(values[rows]).dictionary_encode()
    return _sorted(coded.dictionary.to_pylist(), coded.indices.to_numpy())


def _of_utterances(path: str | PathLike, trials: Trials) -> Groups:
    table = read_two_column(path)
    sides = (trials.enroll_names, trials.test_names)
    indices = (trials.enroll_index, trials.test_index)
    known = [
        np.array([n in table for n in names])[i]
        for names, i in zip(sides, indices, strict=True)
    ]
    _require(path, trials, known[0] & known[1])
    values = sorted({table[name] for names in sides for name in names})
    if len(values) > _MAX_NUMBERS:
        numbers = [_numbers(path, [table[name] for name in names]) for names in sides]
        return _quartiles(np.minimum(numbers[0][indices[0]], numbers[1][indices[1]]))
    code = {value: i for i, value in enumerate(values)}
    enroll, test = (
        np.array([code[table[name]] for name in names])[i]
        for names, i in zip(sides, indices, strict=True)
    )
    both, index = np.unique(
        np.minimum(enroll, test) * len(values) + np.maximum(enroll, test),
        return_inverse=True,
    )
    names = [
        " / ".join(dict.fromkeys(values[i] for i in divmod(b, len(values))))
        for b in both
    ]
    return _sorted(names, index)


def _sorted(names: list[str], index: np.ndarray) -> Groups:
    order = np.argsort(names)
    return Groups([names[i] for i in order], np.argsort(order)[index])


def _numbers(path: str | PathLike, values: list[str]) -> np.ndarray:
    try:
        return np.array(values, np.float64)
    except ValueError:
        raise SVError(
            f"{path}: more than {_MAX_NUMBERS} values that are not numbers; group them"
        ) from None


def _quartiles(numbers: np.ndarray) -> Groups:
    edges = np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1])
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return Groups(names, np.minimum(np.searchsorted(edges[1:], numbers), 3))


def _require(path: str | PathLike, trials: Trials, found: np.ndarray) -> None:
    missing = np.flatnonzero(~found)
    if len(missing):
        trial = missing[0]
        raise SVError(
            f"{path}: has no value for trial {trial + 1},"
            f" '{trials.enroll_names[trials.enroll_index[trial]]}"
            f" {trials.test_names[trials.test_index[trial]]}' ({len(missing)} are"
            " missing)"
        )
