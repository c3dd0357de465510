#!/usr/bin/env python3
"""Count what a speaker model holds and computes, for the table of results."""

import argparse
import json
from pathlib import Path

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.report import read_system
from espnet2_sv.scoring.text_errors import character_error_rate


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", help="tag, zip, directory or exp/ directory")
    model.add_argument(
        "--system",
        help="JSON that sv_embed --system has written: the model is not counted again",
    )
    parser.add_argument("--asr", help="the ASR model that an adaptor reads")
    parser.add_argument(
        "--output",
        required=True,
        help="JSON; named system.json, sv_results puts it in its table",
    )
    parser.add_argument("--text", help="reference text of a set that was recognised")
    parser.add_argument("--text_asr_alone", help="its text by the ASR model alone")
    parser.add_argument(
        "--text_joint", help="its text by sv_joint, beside the embeddings"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Describe the model."""
    args = get_parser().parse_args(cmd)
    texts = {"cer_asr_alone": args.text_asr_alone, "cer_joint": args.text_joint}
    if any(texts.values()) and not args.text:
        raise SVError(
            "--text_asr_alone and --text_joint are compared with --text: give it"
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
