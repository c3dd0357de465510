"""Comparison of systems, each trained from several seeds, on pooled trial lists.

The trials of all parts, e.g. the folds of a cross-validation, are pooled under one
threshold. If each part is scored by its own network, one threshold may suit none of
them, so the mean of the EERs of the parts, each with its own threshold, is given too.
The result of a system is the mean over its runs. Bootstrap samples draw the speakers of
each part, identically for all runs, and the runs of each system, so that intervals
include the variation between speakers and between training seeds.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import json_number
from espnet2_sv.scoring.bootstrap import (
    Draw,
    WeightedRoc,
    draw_lists,
    draw_speakers,
    resample_means,
)
from espnet2_sv.scoring.comparison_plan import Part, Plan, System
from espnet2_sv.scoring.intervals import (
    METRICS,
    Resampling,
    compare_metrics,
    find_intervals,
)
from espnet2_sv.scoring.metrics import P_TARGETS
from espnet2_sv.scoring.results import read_system
from espnet2_sv.scoring.trials import (
    Speakers,
    Trials,
    align_scores,
    read_joined,
    read_scores,
    read_trials,
    speakers_of,
)

# metrics of the pooled trials, and the mean EER over the parts
NAMES = METRICS | {"eer_part_mean": METRICS["eer"]}
SYSTEM_KEYS = (
    "parameters",
    "trained_parameters",
    "gmac_per_second",
    "training_minutes",
)


@dataclass(frozen=True)
class _List:
    """The trials and speakers of a part."""

    name: str
    trials: Trials
    speakers: Speakers
    speaker_names: frozenset[str]


class _Run:
    """Metrics of one run on weighted trials, in the order of :data:`NAMES`."""

    def __init__(self, scores: Sequence[np.ndarray], lists: Sequence[_List]):
        """Take the scores (K,) of each part, in the order of its list."""
        labels = [part.trials.labels for part in lists]
        self._parts = [_part_roc(*part) for part in zip(scores, lists, strict=True)]
        self._pooled = WeightedRoc(
            np.concatenate(scores), np.concatenate(labels), list(P_TARGETS.values())
        )
        n_target = np.array([np.count_nonzero(part) for part in labels])
        self._target_ends = np.cumsum(n_target)
        self._nontarget_ends = np.cumsum([*map(len, labels)] - n_target)

    def __call__(self, target: np.ndarray, nontarget: np.ndarray) -> np.ndarray:
        targets = np.split(target, self._target_ends[:-1])
        nontargets = np.split(nontarget, self._nontarget_ends[:-1])
        parts = zip(self._parts, targets, nontargets, strict=True)
        eers = [roc(*weights)[0] for roc, *weights in parts]
        return np.append(self._pooled(target, nontarget), np.mean(eers))

    def unweighted(self) -> np.ndarray:
        """Compute the metrics with a weight of 1 for each trial."""
        return self(np.ones(self._target_ends[-1]), np.ones(self._nontarget_ends[-1]))

    def eer_by_part(self) -> list[float]:
        """EER of each part, as a fraction."""
        return [part.unweighted()[0] for part in self._parts]


def _part_roc(scores: np.ndarray, part: _List) -> WeightedRoc:
    try:
        return WeightedRoc(scores, part.trials.labels, [])
    except SVError as e:
        raise SVError(f"part {part.name}: {e}") from e


def compare(plan: Plan, resampling: Resampling) -> dict[str, Any]:
    """Compute all metrics and comparisons of a plan.

    Args:
        plan: What to compare.
        resampling: Settings of the bootstrap.

    Returns:
        The content of comparison.json, plain data: ``date``, ``parts``, ``n_target``,
        ``n_nontarget``, ``n_speakers``, ``bootstrap`` (unit, samples, seed),
        ``systems`` by name and ``comparisons``. EERs are in percent (``eer`` of the
        pooled trials, ``eer_part_mean``, ``eer_by_part``), costs as they are; in
        ``comparisons``, ``other`` is the metric of ``against`` and differences are
        positive if ``system`` is better.

    Raises:
        SVError: A file is missing or malformed, a trial has no score or no speaker, a
            part has too few speakers or only one class; part and system are named.
    """
    lists = [_read_list(part) for part in plan.parts]
    _warn_of_shared_speakers(lists)
    draw = None
    if resampling.samples >= 2:
        draw = draw_lists([_draw_part(part) for part in lists])
    labels = np.concatenate([part.trials.labels for part in lists])
    n_speakers = sum(part.speakers.count for part in lists)
    extras = [_describe(system) for system in plan.systems]
    runs = [
        [
            _Run(_read_run(system, number, lists), lists)
            for number in range(len(system.runs))
        ]
        for system in plan.systems
    ]
    by_part = [np.array([run.eer_by_part() for run in system]) for system in runs]
    measured = [np.array([run.unweighted() for run in system]) for system in runs]
    estimates = np.array([of_runs.mean(axis=0) for of_runs in measured])
    values = None
    if draw is not None:
        values = resample_means(runs, draw, resampling.samples, resampling.seed)
    systems = {}
    for i, system in enumerate(plan.systems):
        systems[system.name] = {
            "description": system.description,
            "n_runs": len(runs[i]),
        }
        systems[system.name] |= extras[i] | _in_units(estimates[i])
        drawn = None if values is None else values[:, i]
        systems[system.name] |= _intervals(estimates[i], drawn, n_speakers, len(labels))
        systems[system.name] |= {
            "eer_by_part": _by_name(lists, by_part[i].mean(axis=0)),
            "runs": [
                _in_units(figures) | {"eer_by_part": _by_name(lists, eers)}
                for figures, eers in zip(measured[i], by_part[i], strict=True)
            ],
        }
    comparisons = []
    numbers = {name: i for i, name in enumerate(systems)}
    for pair in plan.comparisons:
        rows = [numbers[pair.system], numbers[pair.against]]
        drawn = None if values is None else values[:, rows]
        figures = compare_metrics(estimates[rows], drawn, n_speakers, NAMES)
        comparisons.append(asdict(pair) | figures)
    return {
        "date": f"{datetime.now():%Y-%m-%d}",
        "parts": [
            {"name": part.name} | _counts(part.trials.labels, part.speakers.count)
            for part in lists
        ],
        **_counts(labels, n_speakers),
        "bootstrap": {
            "unit": "speakers",
            "samples": resampling.samples,
            "seed": resampling.seed,
        },
        "systems": systems,
        "comparisons": comparisons,
    }


def _read_list(part: Part) -> _List:
    try:
        trials, known = read_trials(part.trials), read_joined(part.utt2spk)
        speakers = speakers_of(trials, known, part.trials)
    except SVError as e:
        raise SVError(f"part {part.name}: {e}") from e
    names = frozenset(
        known[name] for name in (*trials.enroll_names, *trials.test_names)
    )
    return _List(part.name, trials, speakers, names)


def _draw_part(part: _List) -> Draw:
    try:
        return draw_speakers(part.speakers, part.trials.labels)
    except SVError as e:
        raise SVError(f"part {part.name}: {e}") from e


def _warn_of_shared_speakers(lists: Sequence[_List]) -> None:
    for one, other in combinations(lists, 2):
        shared = one.speaker_names & other.speaker_names
        if shared:
            logging.warning(
                f"parts {one.name} and {other.name} both have speaker {min(shared)}"
                f" ({len(shared)} such speakers): they are treated as different people"
            )


def _read_run(system: System, number: int, lists: Sequence[_List]) -> list[np.ndarray]:
    """Read the scores of each part, in the order of its list."""
    scores = []
    for part in lists:
        path = system.runs[number][part.name]
        try:
            scores.append(align_scores(part.trials, read_scores(path), path))
        except SVError as e:
            raise SVError(
                f"system {system.name}, run {number + 1}, part {part.name}: {e}"
            ) from e
    return scores


def _describe(system: System) -> dict[str, float]:
    """Average each key over the system.json files."""
    found = []
    for path in system.system:
        if not Path(path).is_file():
            raise SVError(
                f"system {system.name}: {path}: is missing; write it with sv_describe"
            )
        found.append(read_system(Path(path)))
    means = {}
    for key in SYSTEM_KEYS:
        values = [extra.get(key) for extra in found]
        if all(value is None for value in values):
            continue
        numbers: list[float] = []
        for path, value in zip(system.system, values, strict=True):
            try:
                numbers.append(json_number(value))
            except ValueError as e:
                raise SVError(
                    f"system {system.name}: {path}: {key} {e};"
                    " give it in all system.json files of a system, or in none"
                ) from e
        means[key] = float(np.mean(numbers))
    return means


def _intervals(
    estimates: np.ndarray, values: np.ndarray | None, n_speakers: int, n_trials: int
) -> dict[str, Any]:
    """Intervals, and the reason why some are missing."""
    if values is None:
        none: dict[str, Any] = {f"{name}_ci95": None for name in NAMES}
        return none | {"reason": "no resampling was requested"}
    found, reasons = find_intervals(estimates, values, n_speakers, n_trials, NAMES)
    return found | {"reason": "; ".join(reasons) or None}


def _in_units(values: np.ndarray) -> dict[str, float]:
    return {
        n: float(x * scale) for (n, scale), x in zip(NAMES.items(), values, strict=True)
    }


def _by_name(lists: Sequence[_List], eers: np.ndarray) -> dict[str, float]:
    return {part.name: float(100 * eer) for part, eer in zip(lists, eers, strict=True)}


def _counts(labels: np.ndarray, n_speakers: int) -> dict[str, int]:
    n_target = int(np.count_nonzero(labels))
    return {
        "n_target": n_target,
        "n_nontarget": len(labels) - n_target,
        "n_speakers": n_speakers,
    }
