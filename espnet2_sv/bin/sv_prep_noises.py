#!/usr/bin/env python3
"""List the noises of MUSAN and the room impulse responses of RIRS_NOISES."""

import argparse

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.data.corpora.noises import RIR_ROOMS, prepare_noises


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Write musan_music.scp, musan_noise.scp, musan_speech.scp and rirs.scp, for"
            " augmentation. An archive is unpacked if there is no folder."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--musan", required=True, metavar="D", help="folder, or musan.tar.gz"
    )
    parser.add_argument(
        "--rirs", required=True, metavar="D", help="folder, or rirs_noises.zip"
    )
    parser.add_argument(
        "--output_dir", required=True, metavar="D", help="where to write"
    )
    parser.add_argument(
        "--rooms",
        nargs="+",
        default=["small", "medium"],
        metavar="R",
        help=f"simulated rooms, of {', '.join(RIR_ROOMS)}",
    )
    parser.add_argument(
        "--allow_incomplete",
        type=str2bool,
        default=False,
        help="go on where numbers are not as published",
    )
    parser.add_argument(
        "--unpack_dir",
        default="downloads",
        metavar="D",
        help="where archives are unpacked",
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the lists and say how long they are."""
    args = vars(get_parser().parse_args(cmd))
    places = [args.pop(place) for place in ("musan", "rirs", "output_dir")]
    for name, files in prepare_noises(*places, **args).items():
        print(f"{name}: {files:,} files")


if __name__ == "__main__":
    run(main)
