#!/usr/bin/env python3
"""Train a speaker verification model from a pretrained ASR encoder."""

from espnet2_sv.bin.cli import run
from espnet2_sv.tasks.transfer import SVTransferTask


def get_parser():
    """Return the parser of the training options: ESPnet's and the task's."""
    return SVTransferTask.get_parser()


def main(cmd=None):
    """Train as the command line says."""
    SVTransferTask.main(cmd=cmd)


if __name__ == "__main__":
    run(main, configure_logging=False)  # ESPnet's tasks do it, by rank
