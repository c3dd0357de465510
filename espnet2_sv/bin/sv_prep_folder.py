#!/usr/bin/env python3
"""Make data directories from folders SPEAKER/FILE."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.corpora.folder_tree import (
    LEAST_SPEAKERS,
    SHARE,
    prepare_folder,
)


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Make the data directories train, valid and test from recordings in folders"
        " SPEAKER/FILE, of any format. Each speaker is in one of them."
    )
    parser.add_argument(
        "--audio_dir",
        required=True,
        metavar="DIR",
        help="Folder with a folder per speaker; folders in these may be nested",
    )
    options.add_output_dir(parser, "Directory to write train, valid and test to")
    for name in ("valid", "test"):
        parser.add_argument(
            f"--{name}_speakers",
            type=number_of_speakers,
            metavar="N",
            help=(
                f"Number of {name} speakers; default: {SHARE:.0%} of all, at least"
                f" {LEAST_SPEAKERS}"
            ).replace("%", "%%"),
        )
    parser.add_argument(
        "--seed",
        type=options.non_negative_int,
        default=0,
        metavar="N",
        help="Random seed of the selection of speakers",
    )
    return parser


def number_of_speakers(text: str) -> int:
    """Convert a number of speakers of a held-out set."""
    number = options.non_negative_int(text)
    if number < LEAST_SPEAKERS:
        raise argparse.ArgumentTypeError(f"must be at least {LEAST_SPEAKERS}")
    return number


def main(cmd: list[str] | None = None) -> None:
    """Write the sets and print their sizes."""
    args = vars(get_parser().parse_args(cmd))
    sets = prepare_folder(args.pop("audio_dir"), args.pop("output_dir"), **args)
    for name, corpus in sorted(sets.items()):
        recordings = sum(map(len, corpus.values()))
        print(f"{name}: {len(corpus):,} speakers, {recordings:,} recordings")


if __name__ == "__main__":
    run(main)
