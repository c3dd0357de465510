#!/usr/bin/env python3
"""Make a trial list, balanced over short and long utterances."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.make_trials import CONDITIONS, make_trials
from espnet2_sv.textfile import parse_float


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Make a random trial list. With --utt2dur it is balanced over duration"
        " conditions: short and long utterances against each other."
    )
    parser.add_argument(
        "--utt2spk",
        required=True,
        metavar="FILE",
        help="Utterances to draw from, with their speakers",
    )
    parser.add_argument(
        "--utt2dur",
        metavar="FILE",
        help="Durations in seconds; without them no conditions are distinguished",
    )
    parser.add_argument(
        "--same",
        action="append",
        default=[],
        metavar="FILE",
        help=(
            "Lines of 'utt value', e.g. utt2lang: both utterances of a trial have the"
            " same value; can be given several times"
        ),
    )
    options.add_output(parser, "Trial list to write")
    parser.add_argument(
        "--condition_output",
        metavar="FILE",
        help=(
            "Also write lines of 'enroll_utt test_utt condition', for sv_metrics"
            " --attribute"
        ),
    )
    parser.add_argument(
        "--n_target",
        type=options.positive_int,
        default=15000,
        help="Number of target trials",
    )
    parser.add_argument(
        "--n_nontarget",
        type=options.positive_int,
        default=15000,
        help="Number of nontarget trials",
    )
    parser.add_argument(
        "--conditions",
        default=",".join(CONDITIONS),
        help="Duration conditions, separated by commas",
    )
    parser.add_argument(
        "--boundary",
        type=options.positive_float,
        help="Seconds below which an utterance is short; default: the median",
    )
    parser.add_argument(
        "--seed",
        type=options.non_negative_int,
        default=0,
        help="Random seed of the selection",
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Draw the trials and write them, sorted."""
    args = get_parser().parse_args(cmd)
    outputs = args.output, args.condition_output
    options.keep_inputs(args, ("utt2spk", "utt2dur", "same"), outputs)
    utt2spk = read_two_column(args.utt2spk)
    trials = make_trials(
        utt2spk,
        args.n_target,
        args.n_nontarget,
        args.seed,
        read_seconds(args.utt2dur) if args.utt2dur else None,
        args.conditions.split(","),
        args.boundary,
        {path: read_two_column(path) for path in args.same},
    )
    for path, field in ((args.output, "label"), (args.condition_output, "condition")):
        if path:
            with atomic_write(path) as f:
                f.writelines(
                    sorted(f"{t.enroll} {t.test} {getattr(t, field)}\n" for t in trials)
                )


def read_seconds(path: str) -> dict[str, float]:
    """Read a Kaldi ``utt2dur``; raise SVError for a value that is not a number."""
    seconds = {}
    for utterance, value in read_two_column(path).items():
        try:
            seconds[utterance] = parse_float(value)
        except ValueError:
            raise SVError(
                f"{path}: {utterance} has the duration '{printable(value)}', which is"
                " not a number"
            ) from None
    return seconds


if __name__ == "__main__":
    run(main)
