#!/usr/bin/env python3
"""Find, check and copy a trained speaker model."""

import argparse
import contextlib
import sys

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import print_summary, run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Find, check and copy a trained speaker model, to evaluate it. The folder is"
        " then like the exp directory of a training run."
    )
    options.add_model(parser)
    options.add_output_dir(parser, "Directory to write the model to")
    options.add_json(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Resolve the model and print its summary."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.models.resolve import resolve_speaker_model

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the summary only
        summary = resolve_speaker_model(args.model, args.output_dir, args.asr)
    print_summary(summary, args.json)


if __name__ == "__main__":
    run(main)
