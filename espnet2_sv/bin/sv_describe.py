#!/usr/bin/env python3
"""Count what a speaker model holds and computes, for the table of results."""

import argparse
import json

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", required=True, help="tag, zip, directory or exp/ directory")
    parser.add_argument("--asr", help="the ASR model that an adaptor reads")
    parser.add_argument(
        "--output", required=True, help="JSON; named system.json, sv_results puts it in its table"
    )
    parser.add_argument("--text", help="reference text of a set that was recognised")
    parser.add_argument("--text_asr_alone", help="its text by the ASR model alone")
    parser.add_argument("--text_joint", help="its text by sv_joint, beside the embeddings")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Describe the model."""
    args = get_parser().parse_args(cmd)
    texts = {"cer_asr_alone": args.text_asr_alone, "cer_joint": args.text_joint}
    if any(texts.values()) and not args.text:
        raise SVError("--text_asr_alone and --text_joint are compared with --text: give it")
    from espnet2_sv.inference.description import character_error_rate, describe

    system = describe(args.model, args.asr)
    for key, hypothesis in texts.items():
        if hypothesis:
            system[key] = character_error_rate(args.text, hypothesis)
    with atomic_write(args.output) as f:
        f.write(json.dumps(system, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
