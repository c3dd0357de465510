#!/usr/bin/env python3
"""Make Kaldi data directories of VoxCeleb."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.corpora.voxceleb.plan import TRAIN_ON, Plan
from espnet2_sv.data.corpora.voxceleb.prepare import prepare_voxceleb


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Make Kaldi data directories of VoxCeleb: for training, validation, calibration"
        " and the cohort, and the trial lists O, E and H. Archives are unpacked if"
        " their directories do not exist. Speakers and utterances are counted."
    )
    parser.add_argument(
        "--voxceleb1", required=True, metavar="DIR", help="Directory of VoxCeleb1"
    )
    parser.add_argument(
        "--voxceleb2", required=True, metavar="DIR", help="Directory of VoxCeleb2"
    )
    options.add_output_dir(parser, "Directory to write the data directories to")
    parser.add_argument(
        "--train_on",
        choices=tuple(TRAIN_ON),
        default=Plan.train_on,
        help="Development set to train on",
    )
    options.add_switch(
        parser,
        "--voxceleb12_devs",
        "Also make voxceleb12_devs: the training set of VoxCeleb2 and VoxCeleb1 dev,"
        " for tests on o only",
        default=Plan.voxceleb12_devs,
    )
    parser.add_argument(
        "--test_lists",
        nargs="*",
        default=Plan.test_lists,
        metavar="LIST",
        help="Trial lists to test on: o, e, h",
    )
    options.add_switch(
        parser,
        "--cleaned",
        "Use the cleaned versions of the trial lists",
        default=Plan.cleaned,
    )
    parser.add_argument(
        "--trial_lists",
        default="",
        metavar="DIR",
        help="Directory with the trial lists; default: download them",
    )
    for kind, use in (("valid", "validation"), ("calib", "calibration")):
        parser.add_argument(
            f"--{kind}_speakers",
            type=options.non_negative_int,
            default=getattr(Plan, f"{kind}_speakers"),
            help=f"Number of training speakers held out for {use}",
        )
        parser.add_argument(
            f"--{kind}_utterances",
            type=options.non_negative_int,
            default=getattr(Plan, f"{kind}_utterances"),
            help="Maximum number of utterances of each of them",
        )
    parser.add_argument(
        "--held_out",
        default="",
        metavar="DIR",
        help=(
            "Directory with the files valid_speakers and calib_speakers, to use instead"
            " of choosing speakers"
        ),
    )
    parser.add_argument(
        "--cohort_utterances",
        type=options.non_negative_int,
        default=Plan.cohort_utterances,
        help=(
            "Maximum number of utterances of each VoxCeleb training speaker in the"
            " cohort for score normalisation"
        ),
    )
    parser.add_argument(
        "--extra",
        default="",
        metavar="DIR",
        help=(
            "Further training speakers: a Kaldi data directory, or a tree of"
            " SPEAKER/VIDEO/UTTERANCE.wav"
        ),
    )
    parser.add_argument(
        "--extra_prefix",
        default=Plan.extra_prefix,
        help="Prefix for the names of these speakers",
    )
    parser.add_argument(
        "--exclude",
        default="",
        metavar="FILE",
        help="List of utterances to leave out of all sets except the test sets",
    )
    options.add_unpacking(parser)
    parser.add_argument(
        "--seed",
        type=options.non_negative_int,
        default=Plan.seed,
        help="Random seed of all choices",
    )
    options.add_jobs(parser, "Number of threads that list files", default=Plan.nj)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Make the data directories; counts are logged."""
    args = vars(get_parser().parse_args(cmd))
    voxceleb1, voxceleb2 = args.pop("voxceleb1"), args.pop("voxceleb2")
    prepare_voxceleb(voxceleb1, voxceleb2, args.pop("output_dir"), Plan(**args))


if __name__ == "__main__":
    run(main)
