#!/usr/bin/env python3
"""Train a speaker adaptor on a frozen ASR model."""

from espnet2_sv.bin.cli import run
from espnet2_sv.tasks.adaptor import SVAdaptorTask


def get_parser():
    """Return the parser of the training options: ESPnet's and the task's."""
    return SVAdaptorTask.get_parser()


def main(cmd=None):
    """Train as the command line says."""
    SVAdaptorTask.main(cmd=cmd)


if __name__ == "__main__":
    run(main, configure_logging=False)  # ESPnet's tasks do it, by rank
