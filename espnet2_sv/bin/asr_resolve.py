#!/usr/bin/env python3
"""Find, check and unpack a pretrained ESPnet ASR model, once."""

import argparse
import contextlib
import json
import sys

from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        description="Find, check and unpack a pretrained ESPnet ASR model, once.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--asr",
        required=True,
        help=(
            "a model-zoo or Hub tag, a packed .zip, an unpacked directory with"
            " meta.yaml, or the exp/ directory of a training run"
        ),
    )
    parser.add_argument("--outdir", required=True, help="the folder to make")
    parser.add_argument(
        "--json", action="store_true", help="print the summary as one JSON object"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.asr.resolve import resolve_asr

    with contextlib.redirect_stdout(sys.stderr):  # nothing but the summary on stdout
        summary = resolve_asr(args.asr, args.outdir)
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
