#!/usr/bin/env python3
"""Copy a Kaldi data directory and convert audio where needed."""

import argparse
import logging

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import print_report, run
from espnet2_sv.data.formatting import AUDIO_FORMATS, format_data_dir
from espnet2_sv.data.validation_report import ValidationReport


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Copy a Kaldi data directory. Mono files at the requested sampling rate stay"
        " where they are; other audio is converted to 16-bit files in OUTPUT_DIR/audio"
        " (channels averaged, cut by segments). Writes utt2dur. Run it again after an"
        " interruption to continue."
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help="Kaldi data directory"
    )
    options.add_output_dir(parser, "Kaldi data directory to write")
    options.add_sample_rate(parser)
    parser.add_argument(
        "--audio_format",
        choices=AUDIO_FORMATS,
        default="flac",
        help="Format of converted audio",
    )
    options.add_switch(
        parser,
        "--convert_containers",
        "Also convert m4a, aac, webm and other audio that is slow to read in parts:"
        " more disk, faster reading",
    )
    options.add_channel(parser)
    options.add_allow_pipes(parser)
    options.add_shard(
        parser,
        "Convert the I-th of N splits, for cluster jobs; a final call without it"
        " writes the tables",
    )
    options.add_jobs(parser, "Number of processes")
    options.add_report(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Format and print the problems of utterances; raise SVError if there are any."""
    args = get_parser().parse_args(cmd)
    report = format_data_dir(
        args.data_dir,
        args.output_dir,
        args.sample_rate,
        audio_format=args.audio_format,
        convert_containers=args.convert_containers,
        allow_pipes=args.allow_pipes,
        channel=args.channel,
        nj=args.nj,
        shard=args.shard,
        report=ValidationReport(args.max_listed, args.report),
    )
    print_report(report, args.data_dir)
    logging.info(
        "%s: %s",
        args.output_dir,
        f"split {args.shard} is done" if args.shard else "done",
    )


if __name__ == "__main__":
    run(main)
