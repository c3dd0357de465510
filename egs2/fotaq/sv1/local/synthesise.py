#!/usr/bin/env python3
"""Make a data set of sentences that are spoken by a computer, for ASR pretraining."""

import argparse
import logging
from pathlib import Path

import soundfile
from fotaq.sentences import read_sentences
from fotaq.synthesis import synthesise

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.data.kaldi import write_two_column

_HELD_OUT = 100  # one in so many sentences is for validation


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = options.make_parser(
        "Let espeak-ng and flite speak WordNet's example sentences; write wav.scp and"
        " text."
    )
    parser.add_argument(
        "--wordnet", required=True, metavar="D", help="folder with data.noun and so on"
    )
    parser.add_argument(
        "--unpacked", metavar="D", help="contents of packages that are not installed"
    )
    parser.add_argument("--audio_dir", required=True, metavar="D", help="recordings")
    parser.add_argument(
        "--output_dir",
        required=True,
        metavar="D",
        help="data set; D_dev gets one in a hundred sentences",
    )
    parser.add_argument(
        "--sentences", type=options.positive_int, required=True, help="at most"
    )
    parser.add_argument("--sample_rate", type=options.positive_int, default=16000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nj", type=options.positive_int, default=1)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the recordings and the data set, and log its size."""
    args = get_parser().parse_args(cmd)
    chosen = read_sentences(args.wordnet, args.seed)[: args.sentences]
    texts = {f"synthetic{i:06d}": text for i, text in enumerate(chosen)}
    paths = synthesise(
        texts, args.audio_dir, args.sample_rate, args.seed, args.nj, args.unpacked
    )
    names = list(texts)
    held_out = set(names[::_HELD_OUT])
    for folder, chosen in (
        (Path(f"{args.output_dir}_dev"), held_out),
        (Path(args.output_dir), set(names) - held_out),  # last: all is there then
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for table, values in (("text", texts), ("wav.scp", paths)):
            own = {name: values[name] for name in names if name in chosen}
            write_two_column(folder / table, own)
    seconds = sum(soundfile.info(path).duration for path in paths.values())
    logging.info(
        "%s: %s sentences, %.1f hours",
        args.output_dir,
        f"{len(texts):,}",
        seconds / 3600,
    )


if __name__ == "__main__":
    run(main)
