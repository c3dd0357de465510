#!/usr/bin/env python3
"""Compare an ASR model's transcripts without and with a speaker adaptor beside it.

    error_rates.py --output FILE.json --compare SET DECODE REFERENCE ALONE JOINT ...
        [--other MODEL REFERENCE TEXT ...]

REFERENCE, ALONE and JOINT are Kaldi text files. For each SET and DECODE it writes error
rates in percent, the reference's numbers of characters and words (weights to average
by), the number of texts, and how many of them are equal:

    {SET: {DECODE: {"alone": {"cer": 9.1, "wer": 31.0}, "joint": {...},
                    "characters": 3000, "words": 600,
                    "equal_texts": 104, "texts": 104}}}

For other models it writes {"others": {MODEL: {"cer": 50.2, "wer": 92.0}}}.
"""

import argparse
import json

from espnet2_sv.bin.cli import run
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.text_errors import error_rate


def read_texts(path: str, references: dict[str, str], reference: str) -> dict[str, str]:
    """Read recognised texts.

    Args:
        path: A text file.
        references: What was said.
        reference: The file that it is from.

    Raises:
        SVError: An utterance of the reference has no text.
    """
    texts = read_two_column(path, allow_empty_values=True)
    missing = next((name for name in references if name not in texts), None)
    if missing:
        raise SVError(f"{path}: has no {missing} of {reference}; remove it, run again")
    return texts


def rates(references: dict[str, str], texts: dict[str, str]) -> dict[str, float]:
    """Return character and word error rate in percent."""
    return {
        "cer": error_rate(references, texts, list),
        "wer": error_rate(references, texts, str.split),
    }


def compare(reference: str, alone: str, joint: str) -> dict:
    """Return the entry of one set and one decoding; the arguments are text files.

    Raises:
        SVError: There is no reference, or an utterance of it has no text.
    """
    references = read_two_column(reference)
    sides = {
        side: read_texts(path, references, reference)
        for side, path in (("alone", alone), ("joint", joint))
    }
    characters = sum(map(len, references.values()))
    words = sum(len(text.split()) for text in references.values())
    if not words:
        raise SVError(f"{reference}: holds no text")
    errors = {side: rates(references, texts) for side, texts in sides.items()}
    equal = sum(sides["alone"][name] == sides["joint"][name] for name in references)
    counts = {"equal_texts": equal, "texts": len(references)}
    return {**errors, "characters": characters, "words": words, **counts}


def main(cmd: list[str] | None = None) -> None:
    """Compare the given files and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("SET", "DECODE", "REFERENCE", "ALONE", "JOINT")
    parser.add_argument(
        "--compare", required=True, action="append", nargs=5, metavar=names
    )
    parser.add_argument(
        "--other",
        default=[],
        action="append",
        nargs=3,
        metavar=("MODEL", "REFERENCE", "TEXT"),
    )
    parser.add_argument("--output", required=True, help="JSON file to write")
    args = parser.parse_args(cmd)
    results: dict[str, dict] = {}
    for dset, decode, *files in args.compare:
        results.setdefault(dset, {})[decode] = compare(*files)
    for model, reference, text in args.other:
        said = read_two_column(reference)
        found = rates(said, read_texts(text, said, reference))
        results.setdefault("others", {})[model] = found
    with atomic_write(args.output) as stream:
        stream.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
