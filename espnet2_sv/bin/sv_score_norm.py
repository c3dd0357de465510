#!/usr/bin/env python3
"""Normalise scores by AS-norm, S-norm, Z-norm or T-norm."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.embeddings import read_trial_vectors
from espnet2_sv.scoring.score_norm import (
    METHODS,
    normalise_trials,
    read_cohort,
    require_other_impostors,
)
from espnet2_sv.scoring.trials import read_joined, read_scores, write_scores


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Normalise scores against a cohort of impostors: AS-norm, S-norm, Z-norm or"
        " T-norm."
    )
    parser.add_argument(
        "--scores",
        required=True,
        metavar="FILE",
        help=f"Scores from sv_score: {options.SCORE_LINES}",
    )
    options.add_trial_embeddings(parser)
    parser.add_argument(
        "--cohort_scp",
        required=True,
        metavar="FILE",
        help="Embeddings of the impostor cohort (Kaldi scp)",
    )
    parser.add_argument(
        "--cohort_utt2spk",
        metavar="FILE",
        help="Speakers of the cohort; its members are then speaker means",
    )
    parser.add_argument(
        "--cohort_by",
        choices=("speaker", "utterance"),
        help=(
            "What a cohort member is; default: speaker if --cohort_utt2spk is given,"
            " else utterance"
        ),
    )
    parser.add_argument(
        "--utt2spk",
        nargs="+",
        metavar="FILE",
        help="Speakers of the scored names; excludes each one from its own cohort",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="Normalisation method",
    )
    parser.add_argument(
        "--top_n",
        type=options.positive_int,
        default=300,
        help="Number of closest cohort members that as_norm uses",
    )
    options.add_gpu(parser)
    options.add_output(parser, "Score file to write")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Normalise a score file."""
    args = get_parser().parse_args(cmd)
    inputs = ("scores", "cohort_scp", "cohort_utt2spk", "utt2spk")
    options.keep_inputs(args, (*inputs, *options.TRIAL_EMBEDDINGS), [args.output])
    scores = read_scores(args.scores)
    vectors = read_trial_vectors(
        scores,
        args.enroll_scp,
        args.test_scp,
        args.scores,
        args.enroll_spk2utt,
        args.enroll_mode,
        args.mean_scp,
    )
    cohort, numbers = read_cohort(
        args.cohort_scp, args.cohort_utt2spk, args.cohort_by, vectors.mean
    )
    utt2spk = read_joined(args.utt2spk) if args.utt2spk else None
    if utt2spk is not None and not numbers:
        raise SVError(
            "--utt2spk excludes speakers from the cohort: give --cohort_utt2spk too"
        )
    require_other_impostors(cohort, vectors.utterances_of, utt2spk)
    normalised = normalise_trials(
        vectors,
        scores.scores,
        cohort,
        numbers,
        utt2spk,
        args.method,
        args.top_n,
        args.ngpu,
    )
    write_scores(args.output, scores, normalised)


if __name__ == "__main__":
    run(main)
