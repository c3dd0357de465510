"""Training with a process per "GPU" as ESPnet starts them, but on the CPU.

RANK_1 in the environment names what happens to the second process in a training step,
RECORD a folder for the random numbers of every epoch and the weights at its end.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import torch

from espnet2_sv.bin.cli import run
from espnet2_sv.bin.sv_train import first_words
from espnet2_sv.errors import SVError
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.train.trainer import SVTrainer


def fail(*_):
    """Do to this process what RANK_1 names."""
    fault = os.environ["RANK_1"]
    if fault == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "start_method":
        raise SVError(multiprocessing.get_start_method())
    with open(fault, "w"):  # the file that the test waits for
        time.sleep(600)


class RecordingTrainer(SVTrainer):
    """The trainer, which also saves what the random numbers of each process did."""

    @classmethod
    def train_one_epoch(cls, model, *, reporter, distributed_option, **kwargs):
        """Train an epoch; save dropout masks, utterances and the model."""
        masks, dropout = [], model.module.backbone.encoder.encoders[0].dropout
        hook = dropout.register_forward_hook(lambda m, x, y: masks.append(y == 0))
        iterator, utterances = kwargs.pop("iterator"), []
        batches = noted(iterator, utterances)
        result = super().train_one_epoch(
            model,
            iterator=batches,
            reporter=reporter,
            distributed_option=distributed_option,
            **kwargs,
        )
        hook.remove()
        name = f"{distributed_option.dist_rank}.{reporter.get_epoch()}"
        found = {"masks": masks, "utterances": utterances}
        found["model"] = model.module.state_dict()
        torch.save(found, Path(os.environ["RECORD"], name))
        return result


def noted(batches, utterances: list):
    """Yield batches; note their utterances."""
    for names, batch in batches:
        utterances.append(names)
        yield names, batch


class OnCPU(SVTask):
    """Speaker training whose GPUs are imaginary."""

    trainer = RecordingTrainer if os.environ.get("RECORD") else SVTrainer

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
