#!/usr/bin/env python3
"""Compare systems over several trial lists and seeds."""

import argparse
import json
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.fileio import atomic_write, require_writable
from espnet2_sv.scoring.comparison import compare
from espnet2_sv.scoring.comparison_plan import Plan
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.scoring.report import comparison_markdown


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        __doc__,
        epilog=(
            "The trials of all parts are pooled; the speakers of different parts are"
            " taken as different people. The bootstrap resamples speakers and, where a"
            " system has several, training seeds."
        ),
    )
    parser.add_argument(
        "--plan",
        required=True,
        metavar="FILE",
        help=(
            "YAML file with parts (name, trials, utt2spk), systems (name, description,"
            " system: paths of system.json, runs: one 'part: scores' map per seed) and"
            " comparisons (system, against, title); paths are relative to the working"
            " directory"
        ),
    )
    options.add_output_dir(parser, "Directory for comparison.json and comparison.md")
    parser.add_argument(
        "--title", default="Comparison", help="Heading of comparison.md"
    )
    options.add_resampling(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Compare the systems and write the results."""
    args = get_parser().parse_args(cmd)
    folder = Path(args.output_dir)
    outputs = [folder / f"comparison.{ending}" for ending in ("md", "json")]
    options.keep_inputs(args, ["plan"], outputs)
    plan = Plan.read(args.plan)
    require_writable(args.output_dir)
    comparison = compare(plan, Resampling(args.bootstrap_samples, args.seed))
    page = comparison_markdown(comparison, args.title)
    with atomic_write(folder / "comparison.md") as f:
        f.write(page)
    with atomic_write(
        folder / "comparison.json"
    ) as f:  # last: it marks a complete result
        f.write(json.dumps(comparison, indent=2) + "\n")
    print(page)


if __name__ == "__main__":
    run(main)
