"""Training with a process per "GPU" as ESPnet starts them, but on the CPU.

RANK_1 in the environment names what happens to the second process in a training step.
"""

import argparse
import os
import signal
import sys
import time

import torch

from espnet2_sv.bin.cli import run
from espnet2_sv.bin.sv_train import first_words
from espnet2_sv.tasks.sv import SVTask


def fail(*_):
    """Do to this process what RANK_1 names."""
    fault = os.environ["RANK_1"]
    if fault == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "bug":
        raise ZeroDivisionError
    with open(fault, "w"):  # the file that the test waits for
        time.sleep(600)


class OnCPU(SVTask):
    """Speaker training whose GPUs are imaginary."""

    @classmethod
    def main_worker(cls, args: argparse.Namespace):
        """Train on the CPU."""
        args.ngpu = 0
        super().main_worker(args)

    @classmethod
    def build_model(cls, args: argparse.Namespace):
        """Build a model that fails."""
        model = super().build_model(args)
        if os.environ.get("RANK_1") and args.dist_rank == 1:
            model.register_forward_pre_hook(fail)
        return model


def main():
    """Train."""
    if first_words().ngpu != "0":  # this process only starts those that train
        torch.cuda.is_available = lambda: True  # what the checks of the options ask
    OnCPU.main(cmd=[*sys.argv[1:], "--dist_backend", "gloo"])


if __name__ == "__main__":
    run(main, configure_logging=False)
