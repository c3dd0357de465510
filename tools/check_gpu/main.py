"""The command line: which parts, how long, and where the results go."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from check_gpu.child import run_part
from check_gpu.results import (
    FAIL,
    HEADER,
    RESULTS,
    Context,
    Row,
    status_of,
    write_json,
)
from check_gpu.runner import run_parts

DESCRIPTION = """Prove that this machine can train: prints a Markdown table with a line
for each check and ends with status 1 if one of them fails."""
# Module of each part, and its share of the time: seconds of the eight minutes
PARTS = {
    "environment": ("check_gpu.environment", 15.0),
    "parity": ("check_gpu.parity", 60.0),
    "commands": ("check_gpu.commands", 90.0),
    "speed": ("check_gpu.speed", 165.0),
    "choices": ("check_gpu.choices", 50.0),
    "memory": ("check_gpu.memory", 40.0),
    "processes": ("check_gpu.processes", 60.0),
}
DEFAULT_MINUTES = 8.0


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = argparse.ArgumentParser(description=" ".join(DESCRIPTION.split()))
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu runs the same program with tiny networks",
    )
    parser.add_argument(
        "--minutes",
        type=positive,
        default=DEFAULT_MINUTES,
        help=(
            "Time in all, of which each part has its share; what is not finished then"
            " is a FAIL (default: %(default)g)"
        ),
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(PARTS),
        metavar="PART",
        help=f"Only these of {', '.join(PARTS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="Results as JSON")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="The table as a Markdown file"
    )
    # A part's own process: name, module, working directory and deadline
    parser.add_argument("--run_part", nargs=4, help=argparse.SUPPRESS)
    return parser


def positive(text: str) -> float:
    """Read a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def main(cmd: list[str] | None = None) -> int:
    """Run the checks.

    Returns:
        The exit status: 0, 1 if a check failed, 130 after an interruption.
    """
    args = get_parser().parse_args(cmd)
    if args.run_part:
        name, module, workdir, deadline = args.run_part
        folder = Path(workdir)
        context = Context(args.device, folder, float(deadline))
        return run_part(name, module, context, folder / f"{name}.jsonl")
    chosen = {name: PARTS[name] for name in PARTS if name in (args.only or PARTS)}
    rows: list[Row] = []
    start = time.time()

    def report(row: Row) -> None:
        if not rows:
            print(HEADER)
        rows.append(row)
        print(row.markdown(), flush=True)

    with tempfile.TemporaryDirectory(
        prefix="check_gpu.", ignore_cleanup_errors=True
    ) as folder:
        try:
            logs = run_parts(
                chosen, args.device, Path(folder), 60 * args.minutes, report
            )
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    failed = {row.part for row in rows if row.result == FAIL}
    about = {
        "device": args.device,
        "minutes": args.minutes,
        "parts": list(chosen),
        "seconds": round(time.time() - start, 1),
        "logs": {name: log for name, log in logs.items() if name in failed},
    }
    counts = {result: [r.result for r in rows].count(result) for result in RESULTS}
    summary = ", ".join(f"{count} {result}" for result, count in counts.items())
    print(f"\n{summary}; {about['seconds']:.0f} s")
    if args.json:
        write_json(args.json, about, rows)
    if args.output:
        table = "\n".join([HEADER, *(row.markdown() for row in rows)])
        args.output.write_text(f"{table}\n\n{summary}\n", encoding="utf-8")
    return status_of(rows)
