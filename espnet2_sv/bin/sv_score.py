#!/usr/bin/env python3
"""Cosine scores of a trial list."""

import argparse

from espnet2_sv.bin.cli import run
from espnet2_sv.scoring.cosine import row_products
from espnet2_sv.scoring.enrolment import ENROLL_MODES, read_trial_vectors
from espnet2_sv.scoring.scores import write_scores
from espnet2_sv.scoring.trials import read_trials


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--trials", required=True, help="enroll_utt test_utt target|nontarget"
    )
    parser.add_argument(
        "--enroll_scp", required=True, help="embeddings of the enrolment side"
    )
    parser.add_argument("--test_scp", required=True, help="embeddings of the test side")
    parser.add_argument("--output", required=True, help="score file to write")
    add_vector_options(parser)
    return parser


def add_vector_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how embeddings become the vectors that are compared."""
    parser.add_argument(
        "--enroll_spk2utt",
        help="model utt1 utt2 ...: the trials' enrolment side names models",
    )
    parser.add_argument(
        "--enroll_mode",
        choices=ENROLL_MODES,
        default=ENROLL_MODES[0],
        help="how several utterances enrol one model",
    )
    parser.add_argument(
        "--mean_scp",
        help="embeddings whose mean is subtracted first; none of them may be tested",
    )


def main(cmd: list[str] | None = None) -> None:
    """Score a list of trials."""
    args = get_parser().parse_args(cmd)
    trials = read_trials(args.trials)
    vectors = read_trial_vectors(
        trials,
        args.enroll_scp,
        args.test_scp,
        args.trials,
        args.enroll_spk2utt,
        args.enroll_mode,
        args.mean_scp,
    )
    scores = row_products(
        vectors.enroll, vectors.test, vectors.enroll_index, vectors.test_index
    )
    write_scores(args.output, trials, scores)


if __name__ == "__main__":
    run(main)
