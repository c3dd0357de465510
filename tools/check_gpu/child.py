"""One part, in a process of its own: makes its checks and writes a line for each."""

import dataclasses
import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import TextIO

from check_gpu.results import Context, timed_row

RESTART = 75  # exit status that asks for a new process for the checks that are left

FIRST_PART = "environment"  # says why there is no GPU


def run_part(name: str, module: str, context: Context, lines: Path) -> int:
    """Make the checks of a part that have not been made.

    Args:
        name: Name of the part.
        module: Module with ``checks(context)``, which returns functions by name.
        context: What the checks get to know.
        lines: JSON lines are added here: the plan, each beginning, each result. Those
            that are there are of earlier processes of the part.

    Returns:
        The exit status.
    """
    if context.device == "cuda" and name != FIRST_PART:
        import torch

        if not torch.cuda.is_available():
            sys.exit("no usable GPU, see the part environment")
    sys.argv = sys.argv[:1]  # ESPnet's tasks read it when asked for their defaults
    begun = {line["begin"] for line in read_lines(lines) if "begin" in line}
    checks = importlib.import_module(module).checks(context)
    with open(lines, "a", encoding="utf-8") as stream:
        add_line(stream, {"plan": list(checks)})
        for check in checks:
            if check in begun:
                continue
            add_line(stream, {"begin": check})
            row, error = timed_row(name, check, checks[check])
            add_line(stream, dataclasses.asdict(row))
            if error is not None:
                traceback.print_exception(error)
                if context.device == "cuda":  # its context may be unusable from here
                    return RESTART
    return 0


def add_line(stream: TextIO, value: dict) -> None:
    """Write a JSON line at once."""
    stream.write(json.dumps(value, default=str) + "\n")
    stream.flush()


def read_lines(path: Path) -> list[dict]:
    """Read the complete JSON lines of a file that may be written to."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if "\n" in line]
