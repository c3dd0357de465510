#!/usr/bin/env python3
"""Train a speaker verification model with an ASR model as its teacher."""

from espnet2_sv.bin.cli import run
from espnet2_sv.tasks.distill import SVDistillTask


def get_parser():
    """Return the parser of the training options: ESPnet's and the task's."""
    return SVDistillTask.get_parser()


def main(cmd=None):
    """Train as the command line says."""
    SVDistillTask.main(cmd=cmd)


if __name__ == "__main__":
    run(main, configure_logging=False)  # ESPnet's tasks do it, by rank
