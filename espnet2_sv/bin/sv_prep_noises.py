#!/usr/bin/env python3
"""List the files of MUSAN and RIRS_NOISES for augmentation."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.corpora.noises import RIR_ROOMS, prepare_noises


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Write musan_music.scp, musan_noise.scp, musan_speech.scp and rirs.scp, for"
        " augmentation. An archive is unpacked if its directory does not exist."
    )
    parser.add_argument(
        "--musan", required=True, metavar="DIR", help="Directory, or musan.tar.gz"
    )
    parser.add_argument(
        "--rirs", required=True, metavar="DIR", help="Directory, or rirs_noises.zip"
    )
    options.add_output_dir(parser, "Directory to write")
    parser.add_argument(
        "--rooms",
        nargs="+",
        default=["small", "medium"],
        metavar="SIZE",
        help=f"Simulated rooms: {', '.join(RIR_ROOMS)}",
    )
    options.add_unpacking(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the lists and print their lengths."""
    args = vars(get_parser().parse_args(cmd))
    places = [args.pop(place) for place in ("musan", "rirs", "output_dir")]
    for name, files in prepare_noises(*places, **args).items():
        print(f"{name}: {files:,} files")


if __name__ == "__main__":
    run(main)
