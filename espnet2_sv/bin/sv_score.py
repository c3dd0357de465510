#!/usr/bin/env python3
"""Score a trial list by cosine similarity."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.scoring.cosine import row_products
from espnet2_sv.scoring.embeddings import read_trial_vectors
from espnet2_sv.scoring.trials import read_trials, write_scores


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(__doc__)
    options.add_trials(parser)
    options.add_trial_embeddings(parser)
    options.add_output(parser, "Score file to write")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Score a list of trials."""
    args = get_parser().parse_args(cmd)
    options.keep_inputs(args, ("trials", *options.TRIAL_EMBEDDINGS), [args.output])
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
