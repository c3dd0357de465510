#!/usr/bin/env python3
"""Compute EER, minDCF, confidence intervals and plots."""

import argparse
from pathlib import Path

from espnet2.utils.types import str2bool
from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.environment import describe_environment
from espnet2_sv.errors import SVError, printable
from espnet2_sv.scoring.evaluation import Evaluation, evaluate
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.textfile import read_text

OUTPUTS = ("metrics.json", "metrics.md", "det.json", "det.png", "scores.png")


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Compute EER, minDCF, Cllr, confidence intervals and plots of a scored trial"
        " list."
    )
    options.add_trials(parser)
    parser.add_argument(
        "--scores",
        required=True,
        nargs="+",
        metavar="FILE",
        help=f"Scores: {options.SCORE_LINES}; several files are evaluated separately",
    )
    options.add_output_dir(
        parser,
        "Directory for metrics.json, metrics.md, det.json, det.png and scores.png, one"
        " for each of --scores",
        several=True,
    )
    parser.add_argument(
        "--utt2spk",
        nargs="+",
        metavar="FILE",
        help=(
            "Speakers of utterances (and of enrolled models); the bootstrap then"
            " resamples speakers instead of trials"
        ),
    )
    parser.add_argument(
        "--train_utt2spk",
        nargs="+",
        metavar="FILE",
        help="Training speakers; it is an error if one of them is tested",
    )
    parser.add_argument(
        "--compare_scores",
        metavar="FILE",
        help="Scores of another system on the same trials",
    )
    parser.add_argument(
        "--attribute",
        nargs="+",
        default=[],
        metavar="FILE",
        help=(
            "Files to break the results down by: lines of 'enroll_utt test_utt value'"
            " or 'utt value'"
        ),
    )
    parser.add_argument(
        "--title",
        nargs="+",
        help=(
            "Heading and figure title, one for each of --scores; the date is added to"
            " the heading. Default: the test set, by the folder or name of --trials,"
            " and the file of scores"
        ),
    )
    parser.add_argument(
        "--calibrated",
        nargs="+",
        type=str2bool,
        metavar="{true,false}",
        help=(
            "Whether the scores are log-likelihood ratios, one for each of --scores;"
            " only then are there Cllr and actual DCF. Default: whether there is a"
            " calibration.json of sv_calibrate beside them"
        ),
    )
    parser.add_argument(
        "--notes",
        nargs="+",
        default=[],
        metavar="FILE",
        help=(
            "Sentences about the sets, one per line, as of sv_check_data --notes, which"
            " all tables of these results repeat"
        ),
    )
    options.add_switch(
        parser, "--pictures", "Draw det.png and scores.png", default=True
    )
    options.add_resampling(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Evaluate the scores and write the results."""
    args = get_parser().parse_args(cmd)
    titles = args.title or [default_title(args.trials, s) for s in args.scores]
    calibrated = args.calibrated or [None] * len(args.scores)
    for option, given in (
        ("--output_dir", args.output_dir),
        ("--title", titles),
        ("--calibrated", calibrated),
    ):
        if len(given) != len(args.scores):
            raise SVError(
                f"{option}: {len(given)} given for {len(args.scores)} --scores"
            )
    inputs = ("trials", "scores", "utt2spk", "train_utt2spk")
    options.keep_inputs(
        args,
        (*inputs, "compare_scores", "attribute", "notes"),
        [Path(folder) / name for folder in args.output_dir for name in OUTPUTS],
    )
    environment = describe_environment()
    notes = [line for path in args.notes for line in read_text(path).splitlines()]
    for scores, output_dir, title, are_llrs in zip(
        args.scores, args.output_dir, titles, calibrated, strict=True
    ):
        evaluation: Evaluation = evaluate(
            args.trials,
            scores,
            utt2spk=args.utt2spk,
            train_utt2spk=args.train_utt2spk,
            compare_scores=args.compare_scores,
            attributes=args.attribute,
            resampling=Resampling(args.bootstrap_samples, args.seed),
            calibrated=are_llrs,
        )
        evaluation.metrics["environment"] = environment
        evaluation.metrics["notes"] = [printable(note, 500) for note in notes]
        evaluation.write(output_dir, title, args.pictures)
        print((Path(output_dir) / "metrics.md").read_text(encoding="utf-8"))


def default_title(trials: str, scores: str) -> str:
    """Name the test set and the scores, e.g. ``test, scores cosine/scores``.

    The set is the folder of a Kaldi ``trials``, or else the name of the list.
    """
    path = Path(trials).absolute()
    dset = path.parent.name if path.name == "trials" else path.stem
    return f"{dset or path.name}, scores {'/'.join(Path(scores).parts[-2:])}"


if __name__ == "__main__":
    run(main)
