#!/usr/bin/env python3
"""Make Kaldi data directories of VoxCeleb."""

import argparse

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.data.corpora.plan import TRAIN_ON, Plan
from espnet2_sv.data.corpora.prepare import prepare_voxceleb


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Make Kaldi data directories of VoxCeleb: for training, validation,"
            " calibration, a cohort, and the trial lists O, E and H. Archives are"
            " unpacked if there are no folders. Speakers and utterances are counted."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--voxceleb1", required=True, metavar="D", help="VoxCeleb1's folder"
    )
    parser.add_argument(
        "--voxceleb2", required=True, metavar="D", help="VoxCeleb2's folder"
    )
    parser.add_argument(
        "--output_dir", required=True, metavar="D", help="where to write the sets"
    )
    parser.add_argument("--train_on", choices=tuple(TRAIN_ON), default=Plan.train_on)
    parser.add_argument(
        "--test_lists",
        nargs="*",
        default=Plan.test_lists,
        metavar="L",
        help="of o, e and h",
    )
    parser.add_argument(
        "--cleaned",
        type=str2bool,
        default=Plan.cleaned,
        help="whether of the cleaned lists",
    )
    parser.add_argument(
        "--trial_lists",
        default="",
        metavar="D",
        help="folder of the lists, else fetched",
    )
    for kind, use in (("valid", "validation"), ("calib", "calibration")):
        parser.add_argument(
            f"--{kind}_speakers",
            type=int,
            default=getattr(Plan, f"{kind}_speakers"),
            help=f"training speakers held out for {use}",
        )
        parser.add_argument(
            f"--{kind}_utterances",
            type=int,
            default=getattr(Plan, f"{kind}_utterances"),
            help="of each of them, at most",
        )
    parser.add_argument(
        "--held_out",
        default="",
        metavar="D",
        help="folder with lists valid_speakers and calib_speakers to take instead",
    )
    parser.add_argument(
        "--cohort_utterances",
        type=int,
        default=Plan.cohort_utterances,
        help="of each training speaker of VoxCeleb, at most, for score normalisation",
    )
    parser.add_argument(
        "--extra",
        default="",
        metavar="D",
        help=(
            "further training speakers: a Kaldi data directory, or"
            " SPEAKER/VIDEO/UTTERANCE.wav"
        ),
    )
    parser.add_argument(
        "--extra_prefix", default=Plan.extra_prefix, help="to put before their names"
    )
    parser.add_argument(
        "--exclude",
        default="",
        metavar="F",
        help="utterances to leave out, one a line, of all but the test sets",
    )
    parser.add_argument(
        "--allow_incomplete",
        type=str2bool,
        default=Plan.allow_incomplete,
        help="go on where numbers are not as published",
    )
    parser.add_argument(
        "--unpack_dir",
        default=Plan.unpack_dir,
        metavar="D",
        help="where archives are unpacked",
    )
    parser.add_argument("--seed", type=int, default=Plan.seed, help="of all choices")
    parser.add_argument(
        "--nj", type=int, default=Plan.nj, help="threads that list files"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Make the sets; what was found is logged."""
    args = vars(get_parser().parse_args(cmd))
    places = [args.pop(place) for place in ("voxceleb1", "voxceleb2", "output_dir")]
    prepare_voxceleb(*places, Plan(**args))


if __name__ == "__main__":
    run(main)
