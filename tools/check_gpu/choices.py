"""Settings whose better value depends on the GPU, measured side by side.

The two values take turns, so that clocks and other load affect both alike. A figure is
the time with the second value relative to the first, the median of all rounds, with the
smallest and largest. PASS means that both were measured, not that one is better.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from check_gpu.corpus import corpus, with_noises
from check_gpu.device import free_memory, mixed_precision, synchronise, total_gib
from check_gpu.networks import (
    RATE,
    VOXCELEB,
    parse,
    read_config,
    task_name,
    voices,
    write_asr,
    write_config,
)
from check_gpu.results import Check, Context, Failed, Figures, Skipped
from check_gpu.speed import loaders
from espnet2_sv.data.dataset import collate_train
from espnet2_sv.data.iter_factory import TrainIterFactory
from espnet2_sv.data.labels import SpeakerLabels

RESNET = VOXCELEB / "train_sv_distill_resnet34.yaml"
STUDENT = VOXCELEB / "train_sv_distill_small.yaml"
CONFORMER = VOXCELEB / "train_sv_scratch.yaml"
SPEAKERS = 17982  # VoxCeleb2's at three speeds
BATCH, SECONDS = 64, 3.0
GIB_FOR_BATCH = 30.0  # of two networks of 18 x 512, with room to spare
ROUNDS, FEWEST_ROUNDS = 10, 3
STEPS, BATCHES = 4, 6  # a round
PART_OF_TIME = 0.8  # of a check's share, for the rounds and what comes before them
Work = Callable[[], object]


class Choices:
    """The measurements; each has its share of the part's time."""

    def __init__(self, context: Context):
        self.context = context
        self.device = context.device
        self.batch = 2 if context.small else batch_for(total_gib(context.device))
        self.until = 0.0  # when the current one has to end, as of time.monotonic()

    def checks(self) -> dict[str, Check]:
        """Return the measurements by name."""
        fixed, free = {"deterministic": True}, {"deterministic": False}
        searched = {**free, "benchmark": True}
        made = {
            "ResNet34, cudnn_deterministic false": lambda: self.cudnn(
                RESNET, fixed, free
            ),
            "ResNet34, cudnn_benchmark true": lambda: self.cudnn(
                RESNET, free, searched
            ),
            "Conformer, cudnn_benchmark true": lambda: self.cudnn(
                CONFORMER, free, searched
            ),
            "ResNet34, channels_last true": lambda: self.memory_format(RESNET),
            "Conformer, use_sdpa true": self.attention,
            "small student, float32_logits false": self.logits,
            "pinned memory, non-blocking copies": self.copies,
            "prefetch_factor 4": self.prefetch,
            "persistent_workers": self.persistent,
        }
        left = list(made)
        return {
            name: functools.partial(self.within_share, check, left[i:])
            for i, (name, check) in enumerate(made.items())
        }

    def within_share(self, check: Check, left: list[str]) -> Figures:
        """Make a measurement in its share of the time that is left."""
        seconds = PART_OF_TIME * self.context.seconds_left() / len(left)
        self.until = time.monotonic() + seconds
        free_memory(self.device)
        return check()

    def require_gpu(self) -> None:
        """Skip what makes no difference on a CPU."""
        if self.device != "cuda":
            raise Skipped("--device cpu")

    def compare(self, first: Work, second: Work) -> Figures:
        """Time two functions in turn; both run once before.

        Raises:
            Failed: There was no time for enough rounds.
        """
        seconds: list[tuple[float, ...]] = []
        most = FEWEST_ROUNDS if self.context.small else ROUNDS
        while len(seconds) <= most:
            enough = len(seconds) > FEWEST_ROUNDS
            if time.monotonic() > self.until and (enough or not self.context.small):
                break
            seconds.append(tuple(self.timed(work) for work in (first, second)))
        rounds = seconds[1:]
        if len(rounds) < FEWEST_ROUNDS:
            raise Failed(f"time for {len(rounds)} rounds only; give more --minutes")
        ratios = [b / a for a, b in rounds]
        return {
            "time": statistics.median(ratios),
            "from": min(ratios),
            "to": max(ratios),
            "ms before": 1000 * statistics.median(a for a, _ in rounds),
            "rounds": len(rounds),
        }

    def timed(self, work: Work) -> float:
        """Return the seconds of a function, until the device is done."""
        synchronise(self.device)
        start = time.perf_counter()
        work()
        synchronise(self.device)
        return time.perf_counter() - start

    def network(
        self, config: Path, changes: dict | None = None, teacher: bool = False
    ) -> torch.nn.Module:
        """Build a network with VoxCeleb2's classes.

        Args:
            config: A training configuration.
            changes: Of a student with its teacher, values of ``kd_conf``; otherwise of
                ``encoder_conf``.
            teacher: Whether a student's teacher runs.
        """
        context, folder = self.context, self.context.workdir / "choices"
        conf = read_config(config, tiny=context.small)
        conf["kd_conf" if teacher else "encoder_conf"] |= changes or {}
        options = []
        if task_name(config) == "distill":
            make = functools.partial(make_asr, context.small)
            asr = context.folder("choices_asr", make)
            options = ["--asr", str(asr)]
        task, args = parse(write_config(folder, config.stem, conf), folder, options)
        args.spk_num = SPEAKERS
        model = task.build_model(args)
        if task_name(config) == "distill" and not teacher:
            model.schedule = lambda epoch: 0.0
        model.set_epoch(2, 0)
        return model.to(self.device).train()

    def steps(self, model: torch.nn.Module) -> Work:
        """Return a function that makes some training steps without an optimizer."""
        made = voices(self.batch, SECONDS, SPEAKERS)
        batch = {name: tensor.to(self.device) for name, tensor in made.items()}

        def work() -> None:
            for _ in range(STEPS):
                with mixed_precision(self.device):
                    loss, _, _ = model(**batch)
                loss.sum().backward()
                model.zero_grad(set_to_none=True)

        return work

    def cudnn(self, config: Path, first: dict, second: dict) -> Figures:
        """Compare settings of cuDNN, which are the trainer's options."""
        self.require_gpu()
        work = self.steps(self.network(config))

        def under(settings: dict) -> None:
            flags = {"enabled": True, "benchmark": False, **settings}
            with torch.backends.cudnn.flags(**flags):
                work()

        return self.compare(lambda: under(first), lambda: under(second))

    def memory_format(self, config: Path) -> Figures:
        """Compare the memory formats of two-dimensional convolutions."""
        plain, other = self.network(config), self.network(config)
        other.to(memory_format=torch.channels_last)
        return self.compare(self.steps(plain), self.steps(other))

    def attention(self) -> Figures:
        """Compare ESPnet's attention with PyTorch's scaled_dot_product_attention."""
        networks = (self.network(CONFORMER, {"use_sdpa": use}) for use in (False, True))
        return self.compare(*map(self.steps, networks))

    def logits(self) -> Figures:
        """Compare the precision of the logits of student and teacher."""
        work = []
        for exact in (True, False):
            kd_conf = {"float32_logits": exact}
            work.append(self.steps(self.network(STUDENT, kd_conf, teacher=True)))
        return self.compare(*work)

    def copies(self) -> Figures:
        """Compare copies of a batch to the device while the device computes."""
        self.require_gpu()
        batch = torch.randn(self.batch, round(SECONDS * RATE))
        pinned = batch.pin_memory()
        matrix = torch.randn(2048, 2048, device=self.device)

        def work(source: torch.Tensor, non_blocking: bool) -> None:
            for _ in range(10 * STEPS):
                copy = source.to(self.device, non_blocking=non_blocking)
                copy.square_()
                torch.mm(matrix, matrix)

        return self.compare(lambda: work(batch, False), lambda: work(pinned, True))

    @functools.cached_property
    def crops(self) -> TrainIterFactory:
        """Augmented crops of the generated corpus."""
        context, data = self.context, corpus(self.context)
        conf = with_noises(read_config(CONFORMER, tiny=context.small), data)
        return TrainIterFactory(
            f"{data}/train/wav.scp",
            SpeakerLabels.from_spk2utt(f"{data}/train/spk2utt"),
            f"{data}/train/utt2spk",
            sample_rate=RATE,
            crop_seconds=SECONDS,
            batch_size=self.batch,
            seed=0,
            augment_conf=conf["augment_conf"],
            num_iters_per_epoch=10_000,
        )

    def loader(self, batches: Any, **options: Any) -> torch.utils.data.DataLoader:
        """Return a loader with several processes."""
        return torch.utils.data.DataLoader(
            self.crops.dataset,
            batch_sampler=batches,
            collate_fn=collate_train,
            num_workers=max(1, loaders(self.context, 8)),
            pin_memory=self.device == "cuda",
            **options,
        )

    def prefetch(self) -> Figures:
        """Compare how many batches each process prepares in advance."""
        work = []
        for epoch, factor in ((1, 2), (2, 4)):
            batches = self.crops.sampler.generate(epoch)
            iterator = iter(self.loader(batches, prefetch_factor=factor))
            work.append(lambda iterator=iterator: take(iterator, BATCHES))
        return self.compare(*work)

    def persistent(self) -> Figures:
        """Compare the beginning of an epoch with new and with waiting processes."""
        batches = list(itertools.islice(self.crops.sampler.generate(1), BATCHES))
        new = self.loader(batches)
        kept = self.loader(batches, persistent_workers=True)
        return self.compare(lambda: take(iter(new)), lambda: take(iter(kept)))


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part."""
    return Choices(context).checks()


def batch_for(gib: float) -> int:
    """Return a batch that fits on a GPU with so much memory."""
    return BATCH if gib > GIB_FOR_BATCH else BATCH // 4


def make_asr(small: bool, folder: Path) -> None:
    """Write the students' teacher: few blocks, many tokens."""
    write_asr(folder, *((1, 16, 30) if small else (1, 512, 5000)))


def take(iterator, count: int | None = None) -> None:
    """Take batches: a number of them, or all."""
    for _ in itertools.islice(iterator, count):
        pass
