#!/usr/bin/env python3
"""Train a speaker verification model by any of four tasks."""

import argparse

from espnet2_sv.bin.cli import run
from espnet2_sv.environment import require_gpus
from espnet2_sv.tasks import get_task
from espnet2_sv.zoo.checkpoint import load_config
from espnet2_sv.zoo.source import STOCK_TASK, SpeakerSource

DEFAULT_TASK = "scratch"


def get_parser(task: str = DEFAULT_TASK) -> argparse.ArgumentParser:
    """Return the argument parser of a task: ESPnet's training options and its own."""
    return get_task(task).get_parser()


def main(cmd: list[str] | None = None, task: str | None = None) -> None:
    """Train a model.

    Args:
        cmd: Command-line arguments; None for those of this process.
        task: Task of a command that trains only this one. None: see
            :func:`choose_task`.

    Raises:
        SVError: The task is unknown, or options or data are bad.
    """
    require_gpus(first_words(cmd).ngpu)
    get_task(task or choose_task(cmd)).main(cmd=cmd)


def first_words(cmd: list[str] | None = None) -> argparse.Namespace:
    """Return the options that matter before torch is imported.

    Args:
        cmd: Command-line arguments; None for those of this process.

    Returns:
        ``sv_task``, ``init_sv`` and ``ngpu`` of the command line, or else of its
        ``--config``, or else None.

    Raises:
        SVError: The configuration cannot be read.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    first = parser.parse_known_args(cmd)[0]
    conf = {} if first.config is None else load_config(first.config)
    for option in ("sv_task", "init_sv", "ngpu"):
        parser.add_argument(f"--{option}", default=conf.get(option))
    return parser.parse_known_args(cmd)[0]


def choose_task(cmd: list[str] | None = None) -> str:
    """Return the task that is asked for, or else that of the model of ``--init_sv``.

    Raises:
        SVError: The configuration cannot be read, or the model cannot be found.
    """
    words = first_words(cmd)
    if words.sv_task is None and words.init_sv:
        task = SpeakerSource.find(words.init_sv).task
        if task != STOCK_TASK:  # which building the model refuses
            return task
    return words.sv_task or DEFAULT_TASK


if __name__ == "__main__":
    run(main, configure_logging=False)  # ESPnet's tasks do it, by rank
