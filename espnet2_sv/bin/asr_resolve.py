#!/usr/bin/env python3
"""Find, check and unpack a pretrained ESPnet ASR model."""

import argparse
import contextlib
import json
import sys

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(__doc__)
    parser.add_argument(
        "--asr", required=True, metavar="SOURCE", help=f"ASR model: {options.SOURCE}"
    )
    options.add_output_dir(
        parser, "Directory to write the unpacked model to", "--outdir"
    )
    parser.add_argument(
        "--json", action="store_true", help="Print the summary as one JSON object"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.asr.resolve import resolve_asr

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the summary only
        summary = resolve_asr(args.asr, args.output_dir)
    if args.json:
        print(json.dumps(summary))
        return
    for key, value in summary.items():
        print(f"{key.replace('_', ' '):<20} {_text(value)}")


def _text(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    run(main)
