#!/usr/bin/env python3
"""Find, check and unpack a pretrained ESPnet ASR model."""

import argparse
import contextlib
import sys

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import print_summary, run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(__doc__)
    parser.add_argument(
        "--asr", required=True, metavar="SOURCE", help=f"ASR model: {options.SOURCE}"
    )
    options.add_output_dir(
        parser, "Directory to write the unpacked model to", "--outdir"
    )
    options.add_json(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.asr.resolve import resolve_asr

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the summary only
        summary = resolve_asr(args.asr, args.output_dir)
    print_summary(summary, args.json)


if __name__ == "__main__":
    run(main)
