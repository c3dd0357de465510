#!/usr/bin/env python3
"""Error rates, costs, intervals and pictures of a scored trial list."""

import argparse
from pathlib import Path

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.evaluation import Evaluation, evaluate
from espnet2_sv.scoring.intervals import Resampling


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--trials", required=True, help="enroll_utt test_utt target|nontarget"
    )
    parser.add_argument(
        "--scores",
        required=True,
        nargs="+",
        help="enroll_utt test_utt score; of several files, each is evaluated by itself",
    )
    parser.add_argument(
        "--output_dir",
        required=True,
        nargs="+",
        help=(
            "gets metrics.json, metrics.md, det.png, det.json, scores.png; one for each"
            " --scores"
        ),
    )
    parser.add_argument(
        "--utt2spk",
        nargs="+",
        help=(
            "speakers of utterances (and of enrolled models); intervals then resample"
            " speakers"
        ),
    )
    parser.add_argument(
        "--train_utt2spk",
        nargs="+",
        help="training speakers: none of them may be tested",
    )
    parser.add_argument(
        "--compare_scores", help="scores of another system on the same trials"
    )
    parser.add_argument(
        "--attribute",
        nargs="+",
        default=[],
        help=(
            "files to break results down by: 'enroll_utt test_utt value' or 'utt value'"
            " lines"
        ),
    )
    parser.add_argument(
        "--title",
        nargs="+",
        help="heading and picture title, for each --scores; default: name of --trials",
    )
    parser.add_argument(
        "--pictures",
        type=str2bool,
        default=True,
        help="whether to draw det.png and scores.png",
    )
    parser.add_argument(
        "--bootstrap_samples",
        type=int,
        default=1000,
        help="resamplings; 0 for no intervals",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Evaluate the scores and write what was found."""
    args = get_parser().parse_args(cmd)
    titles = args.title or [Path(args.trials).name] * len(args.scores)
    for option, given in (("--output_dir", args.output_dir), ("--title", titles)):
        if len(given) != len(args.scores):
            raise SVError(
                f"{option}: {len(given)} given for {len(args.scores)} --scores"
            )
    for scores, output_dir, title in zip(
        args.scores, args.output_dir, titles, strict=True
    ):
        evaluation: Evaluation = evaluate(
            args.trials,
            scores,
            utt2spk=args.utt2spk,
            train_utt2spk=args.train_utt2spk,
            compare_scores=args.compare_scores,
            attributes=args.attribute,
            resampling=Resampling(args.bootstrap_samples, args.seed),
        )
        evaluation.write(output_dir, title, args.pictures)
        print((Path(output_dir) / "metrics.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
