#!/usr/bin/env python3
"""Compare systems over several trial lists and training seeds."""

import argparse
import json
from pathlib import Path

from espnet2_sv.bin.cli import run
from espnet2_sv.fileio import atomic_write, require_writable
from espnet2_sv.scoring.comparison import compare
from espnet2_sv.scoring.comparison_report import comparison_markdown
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.scoring.plan import Plan


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=(
            "The trials of all parts are pooled; a speaker of one part is another"
            " person than any of another part. Speakers and, where a system has"
            " several, seeds are resampled."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--plan",
        required=True,
        help=(
            "YAML file with parts (name, trials, utt2spk), systems (name, description,"
            " system: paths of system.json, runs: one 'part: scores' map a seed) and"
            " comparisons (system, against, title); paths are relative to the working"
            " directory"
        ),
    )
    parser.add_argument(
        "--output_dir", required=True, help="gets comparison.json, comparison.md"
    )
    parser.add_argument(
        "--title", default="Comparison", help="heading of comparison.md"
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
    """Compare the systems and write what was found."""
    args = get_parser().parse_args(cmd)
    plan = Plan.read(args.plan)
    require_writable(args.output_dir)
    comparison = compare(plan, Resampling(args.bootstrap_samples, args.seed))
    page = comparison_markdown(comparison, args.title)
    folder = Path(args.output_dir)
    with atomic_write(folder / "comparison.md") as f:
        f.write(page)
    with atomic_write(
        folder / "comparison.json"
    ) as f:  # last: its presence says all is there
        f.write(json.dumps(comparison, indent=2) + "\n")
    print(page)


if __name__ == "__main__":
    run(main)
