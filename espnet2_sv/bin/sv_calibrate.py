#!/usr/bin/env python3
"""Calibrate scores to log-likelihood ratios."""

import argparse
import logging
import os
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.calibration import Calibration, by_side, fit_calibration
from espnet2_sv.scoring.quality import QualityFiles, QualityMeasures
from espnet2_sv.scoring.trials import (
    align_scores,
    read_scores,
    read_trials,
    write_scores,
)

# Options that name files to read; --calibration may be what is written once more
INPUTS = (
    *("train_scores", "train_trials", "scores", "utt2dur", "enroll_scp", "test_scp"),
    *("cohort_scp", "cohort_utt2spk", "enroll_spk2utt"),
)


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Calibrate scores to log-likelihood ratios by logistic regression, trained on"
        " trials of held-out training speakers. Writes calibration.json beside each"
        " output."
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--train_scores", metavar="FILE", help="Scores of the training trials"
    )
    training.add_argument(
        "--train_trials",
        metavar="FILE",
        help="Training trials, e.g. from sv_make_trials",
    )
    training.add_argument(
        "--p_target",
        type=options.probability,
        default=0.5,
        help="Target prior for which the fit is optimal",
    )
    training.add_argument(
        "--score_kind",
        default="cosine",
        help="Kind of the scores (cosine, as_norm), recorded in calibration.json",
    )
    training.add_argument(
        "--calibration",
        metavar="FILE",
        help="Apply this calibration.json instead of training one",
    )
    applying = parser.add_argument_group("applying")
    applying.add_argument(
        "--scores",
        nargs="+",
        required=True,
        metavar="FILE",
        help="Score files to calibrate",
    )
    options.add_output(
        applying, "Calibrated score file, one for each of --scores", several=True
    )
    quality = parser.add_argument_group(
        "quality measures",
        "Give them for all utterances of the training trials and of the score files.",
    )
    quality.add_argument(
        "--utt2dur",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Durations in seconds; calibrate with durations",
    )
    quality.add_argument(
        "--enroll_scp",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Enrolment embeddings; calibrate with embedding magnitudes",
    )
    quality.add_argument(
        "--test_scp", nargs="+", default=[], metavar="FILE", help="Test embeddings"
    )
    quality.add_argument(
        "--cohort_scp",
        metavar="FILE",
        help="Cohort embeddings; calibrate with mean cohort scores",
    )
    quality.add_argument(
        "--cohort_utt2spk",
        metavar="FILE",
        help="Speakers of the cohort; average the embeddings of each speaker",
    )
    quality.add_argument(
        "--top_n",
        type=options.positive_int,
        default=300,
        help="Number of closest cohort members in a mean cohort score",
    )
    quality.add_argument(
        "--enroll_spk2utt", metavar="FILE", help="Utterances of the enrolled models"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Fit or load a calibration and apply it."""
    args = get_parser().parse_args(cmd)
    if len(args.scores) != len(args.output):
        raise SVError(
            f"{len(args.scores)} --scores for {len(args.output)} --output: give as many"
        )
    folders = {os.path.realpath(Path(output).parent) for output in args.output}
    calibrations = [Path(folder) / "calibration.json" for folder in folders]
    options.keep_inputs(args, INPUTS, [*args.output, *calibrations])
    measures = QualityMeasures(
        QualityFiles(
            args.utt2dur,
            args.enroll_scp,
            args.test_scp,
            args.cohort_scp,
            args.cohort_utt2spk,
            args.top_n,
            args.enroll_spk2utt,
        )
    )
    calibration = (
        Calibration.load(args.calibration)
        if args.calibration
        else train(args, measures)
    )
    for path, output in zip(args.scores, args.output, strict=True):
        scores = read_scores(path)
        values = measures(scores, path)
        write_scores(output, scores, calibration.llr(scores.scores, **by_side(values)))
    for path in calibrations:
        calibration.save(path)


def train(args: argparse.Namespace, measures: QualityMeasures) -> Calibration:
    """Fit a calibration to the training trials."""
    if not args.train_scores or not args.train_trials:
        raise SVError("give --train_scores and --train_trials, or --calibration")
    trials = read_trials(args.train_trials)
    scores = align_scores(trials, read_scores(args.train_scores), args.train_scores)
    quality = measures(trials, args.train_trials)
    calibration = fit_calibration(
        scores, trials.labels, quality, args.p_target, args.score_kind
    )
    logging.info(f"training trials: Cllr {calibration.info['train_cllr']:.4f} bits")
    return calibration


if __name__ == "__main__":
    run(main)
