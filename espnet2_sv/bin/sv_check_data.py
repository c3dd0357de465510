#!/usr/bin/env python3
"""Check a Kaldi data directory."""

import argparse
import logging
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import print_report, run
from espnet2_sv.data.check_audio import LEVELS
from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.check_overlap import ALLOWED, Policy

TABLES = ("wav.scp", "utt2spk", "spk2utt", "segments", "text")


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Check a Kaldi data directory: tables complete, sorted and consistent, audio"
        " present and readable, trials well-formed. Prints one line per problem; the"
        " exit status is 1 if there are any."
    )
    parser.add_argument(
        "data_dir",
        metavar="DIR",
        help="Kaldi data directory with wav.scp, utt2spk and spk2utt",
    )
    options.add_switch(
        parser, "--train", "The data is for training, so speakers are required"
    )
    parser.add_argument(
        "--trials",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Trial lists over its utterances",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="DIR",
        help=(
            "Data directories that must not share speakers, utterances or recordings"
            " with it"
        ),
    )
    parser.add_argument(
        "--allow_overlap",
        choices=ALLOWED,
        default="none",
        help="What they may share all the same, with a warning",
    )
    parser.add_argument(
        "--against_names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="What they are, for --notes, e.g. training; default: their folders' names",
    )
    options.add_switch(
        parser,
        "--repeated",
        "Look for recordings with equal samples under other names, in it and in"
        " --against, unless audio is not checked",
        default=True,
    )
    options.add_switch(
        parser,
        "--overlap_only",
        "Check only what is shared or repeated; the rest is checked otherwise",
    )
    parser.add_argument(
        "--notes",
        metavar="FILE",
        help=(
            "Write a line for each thing that is shared or repeated, for readers of"
            " results (sv_metrics --notes); removed if there is none"
        ),
    )
    parser.add_argument(
        "--check_audio",
        choices=LEVELS,
        default="header",
        help=(
            "header: open each file and decode its beginning; full: decode each file"
            " and look for NaN, silence and truncation"
        ),
    )
    options.add_sample_rate(
        parser, "Expected sampling rate in Hz; other rates give a warning"
    )
    options.add_allow_pipes(parser)
    parser.add_argument(
        "--utt2dur",
        metavar="FILE",
        help="Write the duration of each utterance in seconds, if no problem is found",
    )
    options.add_shard(
        parser,
        "Check only the audio of the I-th of N splits, for cluster jobs;"
        " --check_audio none checks the rest",
    )
    options.add_jobs(parser, "Number of processes that check audio", default=1)
    options.add_report(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Check the directory and print its problems; raise SVError if there are any."""
    args = get_parser().parse_args(cmd)
    args.data_dir_tables = [Path(args.data_dir) / name for name in TABLES]
    options.keep_inputs(
        args,
        ("trials", "data_dir_tables"),
        [args.utt2dur, args.notes, args.report],
        # the check tells; trials may be in the files of a spk1 recipe
        may_be_missing=["data_dir_tables", "trials"],
    )
    report = check_data_dir(
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
        policy=Policy(args.allow_overlap, args.against_names),
        repeated=args.repeated,
        overlap_only=args.overlap_only,
        notes=args.notes,
        report_file=args.report,
    )
    print_report(report, args.data_dir)
    logging.info("%s: no problems found", args.data_dir)


if __name__ == "__main__":
    run(main)
