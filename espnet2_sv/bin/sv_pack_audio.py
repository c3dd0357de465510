#!/usr/bin/env python3
"""Pack the audio of a Kaldi data directory into few large arks, for network file systems."""

import argparse
import logging

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.data.pack_audio import pack_audio


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Copy a Kaldi data directory with its audio in arks of about a gigabyte,"
            " whose entries wav.scp then names. Bytes are kept as they are, nothing is"
            " encoded again; only the part that is needed is read from an ark. Run"
            " again after a kill to go on."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="D", help="with wav.scp and the rest"
    )
    parser.add_argument(
        "--output_dir", required=True, metavar="D2", help="the directory to make"
    )
    parser.add_argument("--shard_bytes", type=int, default=10**9, help="size of an ark")
    parser.add_argument(
        "--shuffle",
        type=str2bool,
        default=False,
        help="mix the utterances over the arks",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the mixing")
    parser.add_argument("--nj", type=int, default=4, help="processes")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Pack."""
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
