#!/usr/bin/env python3
"""Normalise scores against a cohort of impostors (AS-norm, S-norm, Z-norm, T-norm)."""

import argparse

from espnet2_sv.bin.cli import run
from espnet2_sv.bin.sv_score import add_vector_options
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.enrolment import read_trial_vectors
from espnet2_sv.scoring.normalisation import normalise_trials, read_cohort
from espnet2_sv.scoring.scores import read_scores, write_scores
from espnet2_sv.scoring.snorm import METHODS
from espnet2_sv.scoring.speakers import read_joined


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--scores", required=True, help="enroll_utt test_utt score, from sv_score"
    )
    parser.add_argument(
        "--enroll_scp", required=True, help="embeddings of the enrolment side"
    )
    parser.add_argument("--test_scp", required=True, help="embeddings of the test side")
    parser.add_argument(
        "--cohort_scp", required=True, help="embeddings of the impostors"
    )
    parser.add_argument(
        "--cohort_utt2spk",
        help="speakers of the cohort: impostors are then speaker means",
    )
    parser.add_argument(
        "--cohort_by",
        choices=("speaker", "utterance"),
        help="what an impostor is; default: speaker if --cohort_utt2spk is given",
    )
    parser.add_argument(
        "--utt2spk",
        nargs="+",
        help=(
            "speakers of the scored names: a side's own speaker is left out of its"
            " cohort"
        ),
    )
    parser.add_argument(
        "--method", choices=METHODS, default=METHODS[0], help="kind of norm"
    )
    parser.add_argument(
        "--top_n", type=int, default=300, help="impostors that as_norm keeps"
    )
    parser.add_argument("--ngpu", type=int, default=0, help="1 to use a GPU")
    parser.add_argument("--output", required=True, help="score file to write")
    add_vector_options(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Normalise a score file."""
    args = get_parser().parse_args(cmd)
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
            "--utt2spk leaves speakers out of the cohort: give --cohort_utt2spk too"
        )
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
