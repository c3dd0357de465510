"""From a trial list and its scores to a folder of results."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.attributes import breakdown, read_attribute
from espnet2_sv.scoring.det import Det, det_curve
from espnet2_sv.scoring.identity import identify_list
from espnet2_sv.scoring.intervals import Resampling, with_intervals
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.plots import plot_det, plot_histogram
from espnet2_sv.scoring.report import metrics_markdown
from espnet2_sv.scoring.roc import roc_points
from espnet2_sv.scoring.scores import align_scores, read_scores
from espnet2_sv.scoring.speakers import read_joined, require_unseen, speakers_of
from espnet2_sv.scoring.trials import Trials, read_trials

Path_ = str | PathLike


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        metrics: The content of metrics.json.
        curves: DET curve by name of the system.
        scores: (K,) scores in the order of the list.
        labels: (K,) true for targets.
    """

    metrics: dict[str, Any]
    curves: dict[str, Det]
    scores: np.ndarray
    labels: np.ndarray

    def write(self, output_dir: Path_, title: str, pictures: bool = True) -> None:
        """Write metrics.json, metrics.md, det.json and the pictures.

        Args:
            output_dir: Where to write; it is made if need be.
            title: Heading of metrics.md and of the pictures.
            pictures: Whether to draw det.png (the DET curve) and scores.png (the
                histogram).
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
        for (
            name,
            text,
        ) in texts.items():  # metrics.json last: its presence says all is there
            with atomic_write(folder / name) as f:
                f.write(text)


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
        utt2spk: Speakers of the names in the list.
        train_utt2spk: Speakers that the system was trained on.
        compare_scores: Another system's scores of the trials.
        attributes: Files to break results down by.
        resampling: How to find intervals; 1,000 times by default.

    Raises:
        SVError: A file is malformed, a trial has no score or no speaker, a class is
            missing, or a training speaker is tested.
    """
    if train_utt2spk and not utt2spk:
        raise SVError(
            "train_utt2spk: give the utt2spk of the trials too, to compare speakers"
        )
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
    metrics = {"list": _identity(trials, trials_path), "n_trials": len(trials)}
    metrics |= {"n_speakers": speakers.count if speakers else None} | figures
    return Evaluation(metrics | {"breakdown": groups}, curves, scores, trials.labels)


def _identity(trials: Trials, path: Path_) -> dict[str, Any]:
    with open(path, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    return {"file": Path(path).name, "sha256": digest} | asdict(identify_list(trials))


def _names(scores: Path_, other: Path_ | None) -> tuple[str, str]:
    """Short names that differ: the file's, or with the folder before it."""
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
