#!/usr/bin/env python3
"""Pack the audio of a data directory into a few large arks."""

import argparse
import logging

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.pack_audio import pack_audio


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Copy a Kaldi data directory with its audio in arks of about a gigabyte, to"
        " which wav.scp then points. Audio is copied as it is, without encoding it"
        " again, and only the needed part of an ark is read. Run it again after an"
        " interruption to continue."
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help="Kaldi data directory"
    )
    options.add_output_dir(parser, "Kaldi data directory to write")
    parser.add_argument(
        "--shard_bytes",
        type=options.positive_int,
        default=10**9,
        help="Size of an ark in bytes",
    )
    options.add_switch(
        parser, "--shuffle", "Distribute the utterances over the arks at random"
    )
    parser.add_argument(
        "--seed",
        type=options.non_negative_int,
        default=0,
        help="Random seed of the distribution",
    )
    options.add_jobs(parser, "Number of processes")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Pack the audio."""
    args = get_parser().parse_args(cmd)
    arks = pack_audio(
        args.data_dir,
        args.output_dir,
        shard_bytes=args.shard_bytes,
        shuffle=args.shuffle,
        seed=args.seed,
        nj=args.nj,
    )
    logging.info("%s: %d arks", args.output_dir, arks)


if __name__ == "__main__":
    run(main)
