#!/usr/bin/env python3
"""Make a trial list from speakers, with short and long utterances in equal parts."""

import argparse

from espnet2_sv.bin.cli import run
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.trial_lists import CONDITIONS, make_condition_trials


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--utt2spk", required=True, help="speakers of the utterances to use"
    )
    parser.add_argument(
        "--utt2dur", help="their seconds; without it there are no conditions"
    )
    parser.add_argument("--output", required=True, help="trial list to write")
    parser.add_argument(
        "--condition_output",
        help="also write 'enroll_utt test_utt condition', for --attribute",
    )
    parser.add_argument(
        "--n_target", type=int, default=15000, help="target trials wanted"
    )
    parser.add_argument(
        "--n_nontarget", type=int, default=15000, help="nontarget trials wanted"
    )
    parser.add_argument(
        "--conditions", default=",".join(CONDITIONS), help="separated by commas"
    )
    parser.add_argument(
        "--boundary",
        type=float,
        help="seconds below which an utterance is short; default: median",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random choice")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Draw the trials and write them, sorted."""
    args = get_parser().parse_args(cmd)
    utt2spk = read_two_column(args.utt2spk)
    trials = make_condition_trials(
        utt2spk,
        args.n_target,
        args.n_nontarget,
        args.seed,
        read_seconds(args.utt2dur) if args.utt2dur else None,
        args.conditions.split(","),
        args.boundary,
    )
    for path, field in ((args.output, "label"), (args.condition_output, "condition")):
        if path:
            with atomic_write(path) as f:
                f.writelines(
                    sorted(f"{t.enroll} {t.test} {getattr(t, field)}\n" for t in trials)
                )


def read_seconds(path: str) -> dict[str, float]:
    """Read an ``utt2dur``; a value that is not a number is an SVError that names it."""
    seconds = {}
    for utterance, value in read_two_column(path).items():
        try:
            seconds[utterance] = float(value)
        except ValueError:
            raise SVError(f"{path}: {utterance} has '{value}', not seconds") from None
    return seconds


if __name__ == "__main__":
    run(main)
