#!/usr/bin/env python3
"""Copy a Kaldi data directory, converting only the audio that needs it."""

import argparse
import logging

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.data.formatting import AUDIO_FORMATS, format_data_dir
from espnet2_sv.errors import SVError


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Copy a Kaldi data directory. Audio that is mono, at the wanted rate and no"
            " command stays where it is; the rest is converted to 16-bit files in"
            " OUTPUT_DIR/audio (mean of the channels, cut by segments). Writes utt2dur."
            " Run again after a kill to go on."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="D", help="with wav.scp and the rest"
    )
    parser.add_argument(
        "--output_dir", required=True, metavar="D2", help="the directory to make"
    )
    parser.add_argument("--sample_rate", type=int, default=16000, help="Hz")
    parser.add_argument(
        "--audio_format",
        choices=AUDIO_FORMATS,
        default="flac",
        help="of what is converted",
    )
    parser.add_argument(
        "--convert_containers",
        type=str2bool,
        default=False,
        help="convert m4a, aac and webm, too: more disk, faster training",
    )
    parser.add_argument(
        "--allow_pipes",
        type=str2bool,
        default=False,
        help="run the commands in wav.scp",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help=(
            "do the I-th of N shares, for cluster jobs; a last call without it writes"
            " the tables"
        ),
    )
    parser.add_argument("--nj", type=int, default=4, help="processes")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Format; print what is wrong with single utterances, raise SVError if anything is."""
    args = get_parser().parse_args(cmd)
    findings = format_data_dir(
        args.data_dir,
        args.output_dir,
        args.sample_rate,
        audio_format=args.audio_format,
        convert_containers=args.convert_containers,
        allow_pipes=args.allow_pipes,
        nj=args.nj,
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
    logging.info(
        "%s: %s",
        args.output_dir,
        f"share {args.shard} is done" if args.shard else "done",
    )


if __name__ == "__main__":
    run(main)
