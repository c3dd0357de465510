"""Evaluation of one score file: metrics, intervals, breakdowns, plots and reports."""

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
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

MAX_VALUES = 100  # upper bound on the values that a breakdown distinguishes
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


# Numbers of the trials in each group, by its name; groups may overlap, none is empty
Groups = dict[str, np.ndarray]


def evaluate(
    trials_path: Path_,
    scores_path: Path_,
    *,
    utt2spk: Sequence[Path_] | None = None,
    train_utt2spk: Sequence[Path_] | None = None,
    compare_scores: Path_ | None = None,
    attributes: Sequence[Path_] = (),
    resampling: Resampling | None = None,
    calibrated: bool | None = None,
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
        calibrated: Whether the scores are natural log-likelihood ratios; only then are
            there Cllr and actual costs. By default, whether sv_calibrate has written
            its calibration.json beside them.

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
    if calibrated is None:
        calibrated = Path(scores_path).with_name("calibration.json").exists()
    figures = describe(scores, trials.labels, roc, calibrated)
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
        Path(path).name: breakdown(
            scores,
            trials.labels,
            read_attribute(path, trials),
            figures["eer_threshold"],
            calibrated,
        )
        for path in attributes
    }
    metrics = {"list": _describe_list(trials, trials_path), "calibrated": calibrated}
    metrics |= {"date": f"{datetime.now():%Y-%m-%d}", "n_trials": len(trials)}
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
        path: File of ``enroll_utt test_utt value`` lines: a group for each value. Or
            file of ``utt value`` lines such as ``utt2lang``: the groups are ``same
            lang`` and ``different lang``, ``both VALUE`` for each value that both sides
            of a trial have, and ``lang unknown on one side`` or ``on both sides``,
            where an utterance has no line. If there are many distinct numbers, as in
            ``utt2dur``, groups are the quartiles of the smaller one of both sides.
        trials: The list.

    Raises:
        SVError: A line is malformed, a trial of the first kind of file or all
            utterances have no value, or there are too many values.
    """
    return (_of_trials if _first_fields(path) == 3 else _of_utterances)(path, trials)


def breakdown(
    scores: np.ndarray,
    labels: np.ndarray,
    groups: Groups,
    threshold: float,
    calibrated: bool = False,
) -> dict[str, Any]:
    """Metrics by group.

    Args:
        scores: (K,).
        labels: (K,) true for targets.
        groups: Groups of the same trials.
        threshold: Score from which a trial is accepted.
        calibrated: Whether the scores are natural log-likelihood ratios.

    Returns:
        What :func:`~espnet2_sv.scoring.metrics.describe` returns, by name of the group;
        a group without both classes has counts, an ``eer`` of None and a ``reason``.
        Further, ``misses`` and ``false_alarms`` at the threshold, in percent; None
        without targets or nontargets.
    """
    result: dict[str, Any] = {}
    for name, rows in groups.items():
        target, accepted = labels[rows], scores[rows] >= threshold
        try:
            found = describe(scores[rows], target, calibrated=calibrated)
        except SVError as e:
            n_target = int(np.count_nonzero(target))
            found = {"n_target": n_target, "n_nontarget": len(rows) - n_target}
            found |= {"eer": None, "reason": str(e)}
        found["misses"] = _percentage(~accepted[target])
        found["false_alarms"] = _percentage(accepted[~target])
        result[name] = found
    return result


def _percentage(errors: np.ndarray) -> float | None:
    return 100 * float(errors.mean()) if len(errors) else None


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
    names, index = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    _refuse_values(path, names)
    return {names[i]: np.flatnonzero(index == i) for i in np.argsort(names)}


def _of_utterances(path: str | PathLike, trials: Trials) -> Groups:
    table = read_two_column(path)
    sides = (trials.enroll_names, trials.test_names)
    values = sorted({table[name] for names in sides for name in names if name in table})
    _warn_of_unknown(path, trials, table)
    code = {value: i for i, value in enumerate(values)}
    enroll, test = (
        np.array([code.get(table.get(name, ""), -1) for name in names])[index]
        for names, index in zip(
            sides, (trials.enroll_index, trials.test_index), strict=True
        )
    )
    unknown = (enroll < 0).astype(int) + (test < 0)
    name = Path(path).name.removeprefix("utt2") or "value"
    numbers = _numbers(values) if len(values) > _MAX_NUMBERS else None
    if numbers is not None:
        known = np.flatnonzero(unknown == 0)
        smaller = np.minimum(numbers[enroll[known]], numbers[test[known]])
        groups = {k: known[rows] for k, rows in _quartiles(smaller).items()}
    else:
        _refuse_values(path, values)
        both = {
            f"both {value}": np.flatnonzero((enroll == i) & (test == i))
            for i, value in enumerate(values)
        }
        both = {k: rows for k, rows in both.items() if len(rows)}
        same = (unknown == 0) & (enroll == test)
        groups = {f"same {name}": np.flatnonzero(same)} if len(both) > 1 else {}
        groups[f"different {name}"] = np.flatnonzero((unknown == 0) & ~same)
        groups |= both
    groups[f"{name} unknown on one side"] = np.flatnonzero(unknown == 1)
    groups[f"{name} unknown on both sides"] = np.flatnonzero(unknown == 2)
    return {k: rows for k, rows in groups.items() if len(rows)}


def _warn_of_unknown(
    path: str | PathLike, trials: Trials, table: dict[str, str]
) -> None:
    names = dict.fromkeys((*trials.enroll_names, *trials.test_names))
    unknown = [name for name in names if name not in table]
    if len(unknown) == len(names):
        raise SVError(
            f"{path}: has no value for any utterance of the trials, e.g. {unknown[0]};"
            " give the file of this set"
        )
    if unknown:
        logging.warning(
            f"{path}: has no value for {len(unknown):,} of {len(names):,} utterances,"
            f" e.g. {unknown[0]}; their trials are groups of their own"
        )


def _refuse_values(path: str | PathLike, values: list[str]) -> None:
    """Refuse values that make no groups: very many, or numbers gone wrong (``NaN``)."""
    for value in values:
        if re.fullmatch(r"[+-]?(nan|inf|infinity)", value, re.IGNORECASE):
            raise SVError(
                f"{path}: a value is {value}; replace it, or remove its trials"
            )
    if len(values) > MAX_VALUES:
        raise SVError(
            f"{path}: {len(values)} different values, which are not all numbers; group"
            f" them into {MAX_VALUES} or fewer"
        )


def _numbers(values: list[str]) -> np.ndarray | None:
    """Return values (N,) as numbers; None if one of them is not a finite number."""
    try:
        return np.array([parse_float(value) for value in values])
    except ValueError:
        return None


def _quartiles(numbers: np.ndarray) -> Groups:
    edges = np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1])
    index = np.minimum(np.searchsorted(edges[1:], numbers), 3)
    groups: Groups = {}
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        name, rows = f"{low:g} to {high:g}", np.flatnonzero(index == i)
        if len(rows):  # rounded, two names may be equal
            groups[name] = np.concatenate([groups.get(name, rows[:0]), rows])
    return groups


def _require(path: str | PathLike, trials: Trials, found: np.ndarray) -> None:
    missing = np.flatnonzero(~found)
    if len(missing):
        trial = missing[0]
        raise SVError(
            f"{path}: has no value for trial {trial + 1}, '{trials.line(trial)}'"
            f" ({len(missing)} are missing)"
        )
