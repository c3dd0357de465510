#!/usr/bin/env python3
"""Make Kaldi data directories of Flight of the Amazon Queen."""

import argparse
import dataclasses

from fotaq.prepare import Plan, prepare_fotaq

from espnet2.utils.types import str2bool
from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run

_HELP = {
    "sample_rate": "sampling rate of the clips in Hz",
    "shortest": "minimum seconds of a speaker utterance; shorter clips are joined",
    "most_minutes": "maximum minutes per voice in speaker training",
    "test_utterances": "maximum utterances per character in a validation or test set",
    "target_trials": "maximum target trials per character",
    "nontarget_trials": "maximum nontarget trials per pair of characters",
    "enroll_utterances": "enrolment utterances per model of the second test set",
    "enroll_models": "maximum models per character",
    "asr_share": (
        "fraction of the training characters' texts that goes to each of the two"
        " held-out ASR sets"
    ),
    "seed": "seed of all random selections",
    "allow_incomplete": "continue if the archive differs from the known one",
    "nj": "number of decoding processes",
}


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = options.make_parser(
        "Write the data directories of three folds of queen.1c, for speaker"
        " verification and speech recognition."
    )
    parser.add_argument("--queen", required=True, metavar="F", help="path of queen.1c")
    parser.add_argument(
        "--output_dir", required=True, metavar="D", help="output folder"
    )
    for field in dataclasses.fields(Plan):
        kind = str2bool if field.type is bool else field.type
        parser.add_argument(
            f"--{field.name}", type=kind, default=field.default, help=_HELP[field.name]
        )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the sets, and log their sizes."""
    args = vars(get_parser().parse_args(cmd))
    prepare_fotaq(args.pop("queen"), args.pop("output_dir"), Plan(**args))


if __name__ == "__main__":
    run(main)
