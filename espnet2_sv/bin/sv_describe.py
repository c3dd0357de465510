#!/usr/bin/env python3
"""Count the parameters and operations of a speaker model."""

import argparse
import json
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.results import read_system
from espnet2_sv.scoring.text_errors import character_error_rate


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(__doc__)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "--model", metavar="SOURCE", help=f"Speaker model: {options.SOURCE}"
    )
    model.add_argument(
        "--system",
        metavar="FILE",
        help="Description written by sv_embed --system, instead of counting again",
    )
    options.add_adaptor_asr(parser)
    options.add_output(
        parser, "JSON file to write; sv_results reads it if it is named system.json"
    )
    parser.add_argument(
        "--text", metavar="FILE", help="Reference transcripts of a recognised set"
    )
    parser.add_argument(
        "--text_asr_alone",
        metavar="FILE",
        help="Its transcripts by the ASR model alone",
    )
    parser.add_argument(
        "--text_joint", metavar="FILE", help="Its transcripts by sv_joint"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Describe the model."""
    args = get_parser().parse_args(cmd)
    inputs = ("text", "text_asr_alone", "text_joint")
    options.keep_inputs(args, inputs, [args.output])
    texts = {"cer_asr_alone": args.text_asr_alone, "cer_joint": args.text_joint}
    if any(texts.values()) and not args.text:
        raise SVError(
            "--text_asr_alone and --text_joint need the reference: give --text"
        )
    if args.system:
        system = read_system(Path(args.system))
        if not system:
            raise SVError(f"{args.system}: is missing; sv_embed --system writes it")
    else:
        from espnet2_sv.inference.description import describe

        system = describe(args.model, args.asr)
    for key, hypothesis in texts.items():
        if hypothesis:
            system[key] = character_error_rate(args.text, hypothesis)
    with atomic_write(args.output) as f:
        f.write(json.dumps(system, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
