"""Each VoxCeleb configuration through the real trainer: speed, memory, waiting.

A training runs on generated recordings, with VoxCeleb2's number of classes, until
enough steps are timed; it ends there, before it validates or saves.
"""

import argparse
import contextlib
import functools
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from check_gpu.corpus import corpus, data_options, with_noises
from check_gpu.device import (
    free_memory,
    peak_gib,
    peak_tflops,
    reset_peak,
    synchronise,
)
from check_gpu.networks import (
    VOXCELEB,
    parse,
    read_config,
    task_name,
    write_asr,
    write_config,
)
from check_gpu.profile import StepProfile, SynchronisationPlaces
from check_gpu.results import Check, Context, Failed, Figures
from espnet2_sv.train.operations import flop_counter
from espnet2_sv.train.trainer import SVTrainer

CONFIGS = sorted(VOXCELEB.glob("train_sv_*.yaml"))
UTTERANCES = 1_092_009  # of VoxCeleb2, for a configuration without num_iters_per_epoch
ASR_SIZE, SMALL_ASR_SIZE = (18, 512, 5000), (2, 16, 30)
STEPS_OF_A_PASS = 8532  # over those, in batches of 128
WARM_UP, TIMED_STEPS = 5, 30
SMALL_STEPS = 3
FEWEST = 5  # timed steps that a speed is stated for
SECONDS_FOR_ENDING = 4.0
SMALLEST_BATCH = 8


class Stopped(Exception):
    """Ends a training that has been measured."""


class Steps:
    """The batches of an epoch, and what happens between them.

    A few steps are not timed, one counts operations, one is profiled, one records what
    waits; the others are timed.

    Args:
        batches: The training's own iterator.
        device: ``"cuda"`` or ``"cpu"``.
        steps: Steps to time.
        until: When to stop at the latest, as of ``time.monotonic()``.
    """

    def __init__(self, batches, device: str, steps: int, until: float):
        self.batches, self.device = batches, device
        self.steps, self.until = steps, until
        self.figures: Figures = {}
        self.waited = 0.0
        self.ends: list[float] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator:
        source = iter(self.batches)
        warm_up = 1 if self.device == "cpu" else WARM_UP
        for _ in range(warm_up):
            yield next(source)
        yield from self._counted(source)
        for recorder in (StepProfile(self.device), SynchronisationPlaces(self.device)):
            batch = next(source)
            recorder.start()
            yield batch
            self.figures |= recorder.stop()
        synchronise(self.device)
        reset_peak(self.device)
        self.ends.append(time.perf_counter())
        while len(self.ends) <= self.steps:
            if len(self.ends) > FEWEST and time.monotonic() > self.until:
                break
            began = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                break
            self.waited += time.perf_counter() - began
            yield batch
            self.ends.append(time.perf_counter())
        synchronise(self.device)
        self.seconds = time.perf_counter() - self.ends[0]

    def _counted(self, source) -> Iterator:
        """Count floating-point operations, two per multiply-accumulate."""
        batch = next(source)
        counter = flop_counter()
        with counter:
            yield batch
        self.figures["TFLOP a step"] = counter.get_total_flops() / 1e12


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part: the configurations, by name."""
    names = {path.stem.removeprefix("train_sv_"): path for path in CONFIGS}
    left = list(names)
    return {
        name: functools.partial(measure, context, path, left[i:])
        for i, (name, path) in enumerate(names.items())
    }


def measure(context: Context, config: Path, left: list[str]) -> Figures:
    """Measure one configuration, with smaller batches if memory runs out.

    Args:
        context: The part's context.
        config: The configuration.
        left: The configurations that have not been measured, which share the time.
    """
    seconds = context.seconds_left() / len(left) - SECONDS_FOR_ENDING
    until = time.monotonic() + max(seconds, SECONDS_FOR_ENDING)
    batch = 4 if context.small else read_config(config)["batch_size"]
    while True:
        figures = one_training(context, config, batch, until)
        free_memory(context.device)
        if figures is not None:
            return figures
        batch //= 2
        if batch < SMALLEST_BATCH:
            raise Failed(f"memory runs out with {2 * batch} crops")


def one_training(
    context: Context, config: Path, batch: int, until: float
) -> Figures | None:
    """Train until enough steps are timed.

    Returns:
        Figures; None if memory ran out.
    """
    found: list[Steps] = []

    class MeasuredTrainer(SVTrainer):
        """Passes the training's batches on through :class:`Steps`."""

        @classmethod
        def train_one_epoch(cls, model, *, iterator, **kwargs):
            wanted = SMALL_STEPS if context.small else TIMED_STEPS
            steps = Steps(iterator, context.device, wanted, until)
            super().train_one_epoch(model=model, iterator=steps, **kwargs)
            found.append(steps)
            raise Stopped

    task, args = arguments(context, config, batch)

    class MeasuredTask(task):
        """The same task with that trainer."""

        trainer = MeasuredTrainer

    memory_ran_out = False
    with contextlib.suppress(Stopped):
        try:
            MeasuredTask.main(args=args)
        except torch.OutOfMemoryError:
            memory_ran_out = True
    return None if memory_ran_out else figures_of(context, args, found[0], config)


def arguments(context: Context, config: Path, batch: int):
    """Return the task and the arguments of a training."""
    folder, data = context.workdir / "speed", corpus(context)
    conf = with_noises(read_config(config, tiny=context.small), data)
    conf["num_iters_per_epoch"] = conf["num_iters_per_epoch"] or STEPS_OF_A_PASS
    conf |= {
        "batch_size": batch,
        "num_workers": loaders(context, conf["num_workers"]),
        "freeze_encoder_epochs": 0,  # as most epochs are
        "use_tensorboard": False,
        "use_matplotlib": False,
    }
    options = [*data_options(data), "--ngpu", str(context.ngpu)]
    make = functools.partial(make_asr, context.small)
    if task_name(config) == "lmft":
        conf["init_sv"] = str(context.folder("initial", initial_model(context)))
        config = config.with_name("train_sv_transfer_lmft.yaml")
    elif task_name(config) != "scratch":
        options += ["--asr", str(context.folder("speed_asr", make))]
    output = folder / f"{config.stem}_{batch}"
    return parse(write_config(folder, config.stem, conf), output, options)


def loaders(context: Context, wanted: int) -> int:
    """Return the number of loading processes: no more than there are cores."""
    return 0 if context.small else min(wanted, len(os.sched_getaffinity(0)))


def make_asr(small: bool, folder: Path) -> None:
    """Write the ASR model that trainings start from or listen to."""
    write_asr(folder, *(SMALL_ASR_SIZE if small else ASR_SIZE))


def initial_model(context: Context):
    """Return a function that writes a transfer model with random weights."""

    def make(folder: Path) -> None:
        config = VOXCELEB / "train_sv_transfer.yaml"
        task, args = arguments(context, config, SMALLEST_BATCH)
        args.spk_num = 2
        model = task.build_model(args)
        torch.save(model.state_dict(), folder / "valid.eer.best.pth")
        write_config(folder, "config", vars(args))
        (folder / "spk2id").write_text("a 0\nb 1\n", encoding="utf-8")

    return make


def figures_of(
    context: Context, args: argparse.Namespace, steps: Steps, config: Path
) -> Figures:
    """Return the figures of the timed steps.

    Raises:
        Failed: There were too few of them.
    """
    durations = [b - a for a, b in zip(steps.ends, steps.ends[1:], strict=False)]
    least = SMALL_STEPS if context.small else FEWEST
    if len(durations) < least:
        raise Failed(f"time for {len(durations)} steps only; give more --minutes")
    step = steps.seconds / len(durations)
    flops = steps.figures.pop("TFLOP a step")
    speed, peak = flops / step, peak_tflops(context.device)
    conf: dict[str, Any] = read_config(config)
    number = conf["num_iters_per_epoch"] or -(-UTTERANCES // conf["batch_size"])
    crops = conf["max_epoch"] * number * conf["batch_size"]
    figures = {
        "batch": args.batch_size,
        "crops/s": args.batch_size / step,
        "step ms": 1000 * step,
        "longest step ms": 1000 * max(durations),
        "median step ms": 1000 * statistics.median(durations),
        "waiting for data %": 100 * steps.waited / steps.seconds,
        "TFLOP a step": flops,
        "TFLOP/s": speed,
        "of peak %": 100 * speed / peak if peak else "unknown",
        **peak_gib(context.device),
        **steps.figures,
    }
    if not context.small:
        figures["hours of the recipe"] = crops / figures["crops/s"] / 3600
    return figures
