#!/usr/bin/env python3
"""Train a speaker verification model by any of four tasks."""

import argparse

from espnet2_sv.bin.cli import run
from espnet2_sv.tasks import get_task
from espnet2_sv.zoo.checkpoint import load_config

DEFAULT_TASK = "scratch"


def get_parser(task: str = DEFAULT_TASK) -> argparse.ArgumentParser:
    """Return the argument parser of a task: ESPnet's training options and its own."""
    return get_task(task).get_parser()


def main(cmd: list[str] | None = None, task: str | None = None) -> None:
    """Train a model.

    Args:
        cmd: Command-line arguments; None for those of this process.
        task: Task of a command that trains only this one. None: ``--sv_task``, or else
            ``sv_task`` in the ``--config``, or else training from scratch.

    Raises:
        SVError: The task is unknown, or options or data are bad.
    """
    chosen = choose_task(cmd)
    get_task(task or chosen).main(cmd=cmd)


def choose_task(cmd: list[str] | None = None) -> str:
    """Return the ``sv_task`` of a command line, or else of its ``--config``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--sv_task")
    parser.add_argument("--config")
    args, _ = parser.parse_known_args(cmd)
    if args.sv_task is None and args.config is not None:
        args.sv_task = load_config(args.config).get("sv_task")
    return args.sv_task or DEFAULT_TASK


if __name__ == "__main__":
    run(main, configure_logging=False)  # ESPnet's tasks do it, by rank
