"""Evaluation of one score file: metrics, intervals, breakdowns, plots and reports."""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.intervals import Resampling, with_intervals
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.pairs import Column, read_pairs
from espnet2_sv.scoring.plots import Det, det_curve, plot_det, plot_histogram
from espnet2_sv.scoring.published_lists import identify_list
from espnet2_sv.scoring.report import metrics_markdown
from espnet2_sv.scoring.roc import roc_points
from espnet2_sv.scoring.trials import (
    Trials,
    align_scores,
    codes_in,
    read_joined,
    read_scores,
    read_trials,
    require_unseen,
    speakers_of,
)
from espnet2_sv.textfile import parse_float, read_text

Path_ = str | PathLike

MAX_VALUES = 100  # upper bound on the groups of a breakdown
_MAX_NUMBERS = 20  # beyond this, distinct numbers are grouped into quartiles

_ATTRIBUTE = Column("enroll_utt test_utt value", pa.string(), str)


@dataclass(frozen=True)
class Evaluation:
    """The results of :func:`evaluate`.

    Attributes:
        metrics: The content of metrics.json.
        curves: DET curves by name of the system.
        scores: (K,) scores in the order of the list.
        labels: (K,) true for targets.
    """

    metrics: dict[str, Any]
    curves: dict[str, Det]
    scores: np.ndarray
    labels: np.ndarray

    def write(self, output_dir: Path_, title: str, pictures: bool = True) -> None:
        """Write metrics.json, metrics.md, det.json and the plots.

        Args:
            output_dir: Folder to write to; created if missing.
            title: Heading of metrics.md and title of the plots.
            pictures: Whether to draw det.png (the DET curve) and scores.png (the
                score histogram).
        """
        folder = Path(output_dir)
        curves = {name: curve.to_json() for name, curve in self.curves.items()}
        texts = {
            "det.json": json.dumps(curves) + "\n",
            "metrics.md": metrics_markdown(self.metrics, title),
            "metrics.json": json.dumps(self.metrics, indent=2) + "\n",
        }
        if pictures:
            plot_det(self.curves, folder / "det.png", title)
            threshold = self.metrics["eer_threshold"]
            plot_histogram(
                self.scores, self.labels, folder / "scores.png", threshold, title
            )
        # metrics.json is written last: its presence marks complete results.
        for name, text in texts.items():
            with atomic_write(folder / name) as f:
                f.write(text)


@dataclass(frozen=True)
class Groups:
    """Groups of trials.

    Attributes:
        names: The attribute values that occur.
        index: (K,) index into ``names`` of each trial.
    """

    names: list[str]
    index: np.ndarray


def evaluate(
    trials_path: Path_,
    scores_path: Path_,
    *,
    utt2spk: Sequence[Path_] | None = None,
    train_utt2spk: Sequence[Path_] | None = None,
    compare_scores: Path_ | None = None,
    attributes: Sequence[Path_] = (),
    resampling: Resampling | None = None,
) -> Evaluation:
    """Evaluate a score file.

    Args:
        trials_path: The trial list.
        scores_path: Scores of at least these trials, in any order.
        utt2spk: Files with the speakers of the names in the list.
        train_utt2spk: Files with the speakers that the system was trained on.
        compare_scores: Another system's scores of the same trials.
        attributes: Files to break results down by; see :func:`read_attribute`.
        resampling: How to resample for intervals; 1,000 times by default.

    Raises:
        SVError: A file is malformed, a trial has no score or no speaker, a class is
            missing, or a training speaker is tested.
    """
    if train_utt2spk and not utt2spk:
        raise SVError("train_utt2spk: give utt2spk, the speakers of the trials, too")
    name, other_name = _names(scores_path, compare_scores)
    trials = read_trials(trials_path)
    scores = align_scores(trials, read_scores(scores_path), scores_path)
    other = None
    if compare_scores is not None:
        other = align_scores(trials, read_scores(compare_scores), compare_scores)
    roc = roc_points(scores, trials.labels)
    curves = {name: det_curve(roc)}
    figures = describe(scores, trials.labels, roc)
    speakers = None
    if utt2spk:
        known = read_joined(utt2spk)
        speakers = speakers_of(trials, known, str(trials_path))
        if train_utt2spk:
            tested = {
                known[name] for name in (*trials.enroll_names, *trials.test_names)
            }
            require_unseen(tested, read_joined(train_utt2spk), str(trials_path))
    figures |= with_intervals(
        scores, trials.labels, speakers, resampling or Resampling(), other
    )
    if other is not None:
        curves[other_name] = det_curve(roc_points(other, trials.labels))
        figures["compare"]["name"] = other_name
    groups = {
        Path(path).name: breakdown(scores, trials.labels, read_attribute(path, trials))
        for path in attributes
    }
    metrics = {"list": _describe_list(trials, trials_path), "n_trials": len(trials)}
    metrics |= {"n_speakers": speakers.count if speakers else None} | figures
    return Evaluation(metrics | {"breakdown": groups}, curves, scores, trials.labels)


def _describe_list(trials: Trials, path: Path_) -> dict[str, Any]:
    with open(path, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    return {"file": Path(path).name, "sha256": digest} | asdict(identify_list(trials))


def _names(scores: Path_, other: Path_ | None) -> tuple[str, str]:
    """Two distinct short names: the file names, with their folders if need be."""
    first, second = Path(scores), Path(other or "other")
    if first.name == second.name:
        first, second = (Path(*path.absolute().parts[-2:]) for path in (first, second))
    if first == second:
        return "this", "other"
    return (
        (str(first), str(second))
        if first.name == second.name
        else (first.name, second.name)
    )


def read_attribute(path: str | PathLike, trials: Trials) -> Groups:
    """Group trials by an attribute such as gender, language or duration.

    Args:
        path: File of ``enroll_utt test_utt value`` lines, or of ``utt value`` lines
            such as ``utt2gender`` or ``utt2dur``: the value of a trial is then that of
            both sides, ``a / b`` if they differ, or, for many distinct numbers, the
            quartile of the smaller one.
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
    """Metrics by group.

    Args:
        scores: (K,).
        labels: (K,) true for targets.
        groups: Groups of the same trials.

    Returns:
        What :func:`~espnet2_sv.scoring.metrics.describe` returns, by name of the group;
        a group without both classes has counts, an ``eer`` of None and a ``reason``.
    """
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
    return len(read_text(path).partition("\n")[0].split())


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
    _refuse_nan(path, coded.dictionary.to_pylist())
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
    _refuse_nan(path, values)
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


def _refuse_nan(path: str | PathLike, values: list[str]) -> None:
    """Refuse values that are no group but a number gone wrong, e.g. ``NaN``."""
    for value in values:
        if re.fullmatch(r"[+-]?(nan|inf|infinity)", value, re.IGNORECASE):
            raise SVError(
                f"{path}: a value is {value}; replace it, or remove its trials"
            )


def _numbers(path: str | PathLike, values: list[str]) -> np.ndarray:
    for value in values:
        try:
            parse_float(value)
        except ValueError:
            raise SVError(
                f"{path}: more than {_MAX_NUMBERS} different values, of which"
                f" '{printable(value, 40)}' is not a finite number; group them"
            ) from None
    return np.array(values, np.float64)


def _quartiles(numbers: np.ndarray) -> Groups:
    edges = np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1])
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return Groups(names, np.minimum(np.searchsorted(edges[1:], numbers), 3))


def _require(path: str | PathLike, trials: Trials, found: np.ndarray) -> None:
    missing = np.flatnonzero(~found)
    if len(missing):
        trial = missing[0]
        raise SVError(
            f"{path}: has no value for trial {trial + 1}, '{trials.line(trial)}'"
            f" ({len(missing)} are missing)"
        )
