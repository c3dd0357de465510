#!/usr/bin/env python3
"""Train a speaker adaptor on a frozen ASR model."""

import argparse

from espnet2_sv.bin import sv_train
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the argument parser: ESPnet's training options and the task's own."""
    return sv_train.get_parser("adaptor")


def main(cmd: list[str] | None = None) -> None:
    """Train a model."""
    sv_train.main(cmd, task="adaptor")


if __name__ == "__main__":
    run(main, configure_logging=False)  # ESPnet's tasks do it, by rank
