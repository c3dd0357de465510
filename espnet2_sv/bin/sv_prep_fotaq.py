#!/usr/bin/env python3
"""Make Kaldi data directories of Flight of the Amazon Queen."""

import argparse
import dataclasses

from espnet2.utils.types import str2bool

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.corpora.fotaq.plan import Plan
from espnet2_sv.data.corpora.fotaq.prepare import prepare_fotaq

_HELP = {
    "sample_rate": "of the clips that are written, Hz",
    "shortest": "seconds of a speaker utterance; shorter clips are joined",
    "most_minutes": "of one voice in speaker training",
    "test_utterances": "of one character in a validation or test set, at most",
    "target_trials": "of one character, at most",
    "nontarget_trials": "of one pair of characters, at most",
    "enroll_utterances": "that enrol a model of the second test set",
    "enroll_models": "of one character, at most",
    "asr_share": (
        "of the training characters' texts that goes to each of two ASR sets held out"
    ),
    "seed": "of all choices",
    "allow_incomplete": "go on where the archive is not what is known",
    "nj": "processes that decode",
}


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = options.make_parser(
        "Make three folds of data directories of queen.1c, for speaker verification"
        " and speech recognition."
    )
    parser.add_argument("--queen", required=True, metavar="F", help="the file queen.1c")
    parser.add_argument(
        "--output_dir", required=True, metavar="D", help="where to write the sets"
    )
    for field in dataclasses.fields(Plan):
        kind = str2bool if field.type is bool else field.type
        parser.add_argument(
            f"--{field.name}", type=kind, default=field.default, help=_HELP[field.name]
        )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Make the sets; what was found is logged."""
    args = vars(get_parser().parse_args(cmd))
    prepare_fotaq(args.pop("queen"), args.pop("output_dir"), Plan(**args))


if __name__ == "__main__":
    run(main)
