#!/usr/bin/env python3
"""Calibrate scores to log-likelihood ratios, on trials of held-out training speakers."""

import argparse
import logging
from pathlib import Path

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.calibration import Calibration, by_side, fit_calibration
from espnet2_sv.scoring.quality import QualityFiles, QualityMeasures
from espnet2_sv.scoring.scores import align_scores, read_scores, write_scores
from espnet2_sv.scoring.trials import read_trials


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    training = parser.add_argument_group("training")
    training.add_argument("--train_scores", help="scores of the training trials")
    training.add_argument(
        "--train_trials", help="the training trials, as of sv_make_trials"
    )
    training.add_argument(
        "--p_target", type=float, default=0.5, help="prior for which the fit is best"
    )
    training.add_argument(
        "--score_kind",
        default="cosine",
        help="what the scores are (cosine, as_norm); recorded",
    )
    training.add_argument(
        "--calibration", help="apply this calibration.json; train nothing"
    )
    applying = parser.add_argument_group("applying")
    applying.add_argument(
        "--scores", nargs="+", required=True, help="score files to calibrate"
    )
    applying.add_argument(
        "--output", nargs="+", required=True, help="a file for each of --scores"
    )
    quality = parser.add_argument_group(
        "quality measures", "of the names in the training trials and in all score files"
    )
    quality.add_argument(
        "--utt2dur", nargs="+", default=[], help="seconds: use durations"
    )
    quality.add_argument(
        "--enroll_scp",
        nargs="+",
        default=[],
        help="enrolment embeddings: use magnitudes",
    )
    quality.add_argument("--test_scp", nargs="+", default=[], help="test embeddings")
    quality.add_argument(
        "--cohort_scp", help="embeddings of impostors: use cohort means"
    )
    quality.add_argument(
        "--cohort_utt2spk", help="speakers of the cohort, to average each"
    )
    quality.add_argument(
        "--top_n", type=int, default=300, help="impostors in a cohort mean"
    )
    quality.add_argument("--enroll_spk2utt", help="utterances of enrolled models")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Fit or load a calibration and apply it."""
    args = get_parser().parse_args(cmd)
    if len(args.scores) != len(args.output):
        raise SVError(
            f"{len(args.scores)} --scores for {len(args.output)} --output: give as many"
        )
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
    for folder in {Path(output).parent for output in args.output}:
        calibration.save(folder / "calibration.json")


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
