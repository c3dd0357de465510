#!/usr/bin/env python3
"""Check a Kaldi data directory."""

import argparse
import logging

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.data.check_audio import LEVELS
from espnet2_sv.data.checks import check_data_dir
from espnet2_sv.errors import SVError


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Check a Kaldi data directory: tables complete, sorted and consistent,"
            " audio there and readable, trials sound. One line per problem; exit status"
            " 1 if there is one."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "data_dir", metavar="DIR", help="holds wav.scp, utt2spk, spk2utt"
    )
    parser.add_argument(
        "--train",
        type=str2bool,
        default=False,
        help="it is for training: speakers are needed",
    )
    parser.add_argument(
        "--trials",
        nargs="+",
        default=[],
        metavar="F",
        help="trial lists over its utterances",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="DIR",
        help="data directories that must share no speaker and no utterance with it",
    )
    parser.add_argument(
        "--check_audio",
        choices=LEVELS,
        default="header",
        help=(
            "header: open each file; full: decode it all, looking for NaN, silence,"
            " truncation"
        ),
    )
    parser.add_argument(
        "--sample_rate",
        type=int,
        default=16000,
        help="Hz; recordings at others are a warning",
    )
    parser.add_argument(
        "--allow_pipes",
        type=str2bool,
        default=False,
        help="run the commands in wav.scp",
    )
    parser.add_argument(
        "--utt2dur",
        metavar="F",
        help="write each recording's seconds, if there are no problems",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help=(
            "look at the I-th of N shares of the audio and nothing else, for cluster"
            " jobs; --check_audio none looks at the rest"
        ),
    )
    parser.add_argument(
        "--nj", type=int, default=1, help="processes that look at audio"
    )
    parser.add_argument(
        "--max_listed",
        type=int,
        default=50,
        help="lines per kind of problem; more are counted",
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Check, print what is wrong, raise SVError if anything is."""
    args = get_parser().parse_args(cmd)
    findings = check_data_dir(
        args.data_dir,
        train=args.train,
        trials=args.trials,
        against=args.against,
        audio=args.check_audio,
        sample_rate=args.sample_rate,
        allow_pipes=args.allow_pipes,
        nj=args.nj,
        listed=args.max_listed,
        utt2dur=args.utt2dur,
        shard=args.shard,
    )
    for line in findings.warnings():
        logging.warning(line)
    for line in findings.problems():
        print(line)
    if findings.num_problems:
        raise SVError(
            f"{args.data_dir}: {findings.num_problems} problem(s), listed above"
        )
    logging.info("%s: no problems found", args.data_dir)


if __name__ == "__main__":
    run(main)
