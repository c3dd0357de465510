"""ESPnet's trainer with speaker verification as validation, and its options."""

import argparse
import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from espnet2_sv.errors import SVError
from espnet2_sv.train import checkpoint
from espnet2_sv.train.batchnorm import synchronise_batchnorm
from espnet2_sv.train.device import DeviceBatches
from espnet2_sv.train.distributed import (
    gather_dicts,
    rewrap,
    seed_by_rank,
    trainable_ids,
    unwrap,
)
from espnet2_sv.train.lr_schedule import CosineSchedule, ScheduledLR
from espnet2_sv.train.margin_schedule import MarginSchedule, get_margin, set_margin
from espnet2_sv.train.process_group import set_group_timeout
from espnet2_sv.train.progress import Progress
from espnet2_sv.train.validation import embed_batches, verification_stats

if TYPE_CHECKING:
    from espnet2_sv.models.speaker_model import SpeakerModel


@dataclasses.dataclass
class SVTrainerOptions(TrainerOptions):
    """Options of ESPnet's trainer and of speaker training."""

    valid_trials: str
    freeze_encoder_epochs: int
    margin_schedule: dict
    lr_schedule: dict
    sync_batchnorm: bool
    torch_sync_batchnorm: bool
    dist_timeout: float  # minutes
    channels_last: bool

    def __post_init__(self):
        """Initialise the trainer's state, which ESPnet passes with the options."""
        # Parameters that DistributedDataParallel synchronises, by id
        self.synchronised: frozenset[int] = frozenset()
        self.full_margin = 0.0  # radians
        self.progress = Progress(None, self.max_epoch)


def add_trainer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for schedules and distributed training."""
    group = parser.add_argument_group("Speaker trainer")
    group.add_argument(
        "--lr_schedule",
        action=NestedDictAction,
        default={},
        help=(
            "Warm-up and cosine decay of the learning rates of all parameter groups:"
            " warmup_steps, final (factor at the end), total_steps (default: all steps"
            " of training). Replaces --scheduler"
        ),
    )
    group.add_argument(
        "--margin_schedule",
        action=NestedDictAction,
        default={},
        help=(
            "Linear increase of the margin to that of loss_conf: initial (radians),"
            " from_epoch (the last with the initial margin), to_epoch (the first with"
            " the full margin)"
        ),
    )
    group.add_argument(
        "--sync_batchnorm",
        type=str2bool,
        default=True,
        help=(
            "In distributed training, compute BatchNorm statistics over the batches of"
            " all processes"
        ),
    )
    group.add_argument(
        "--torch_sync_batchnorm",
        type=str2bool,
        default=False,
        help=(
            "On GPUs, use torch.nn.SyncBatchNorm for that: fused kernels, but the CPU"
            " waits for the GPU three times in each layer"
        ),
    )
    group.add_argument(
        "--dist_timeout",
        type=float,
        default=30.0,
        help=(
            "In distributed training, how many minutes a process waits for the others"
            " before it ends. More than reading a batch, validating or saving may take"
        ),
    )
    group.add_argument(
        "--channels_last",
        type=str2bool,
        default=False,
        help=(
            "Keep the weights of 2-d convolutions in channels-last order, which GPUs"
            " may compute faster. Models are saved alike"
        ),
    )


class SVTrainer(Trainer):
    """Train on speaker classes and validate by verifying held-out speakers.

    Validation computes the embedding of every whole utterance of the trial list once,
    and the EER and minDCF of the cosine scores.
    """

    @classmethod
    def add_arguments(cls, parser):
        """Add the options of this trainer."""
        add_trainer_arguments(parser)

    @classmethod
    def build_options(cls, args):
        """Extract the options of this trainer from all training options."""
        return build_dataclass(SVTrainerOptions, args)

    @classmethod
    def run(cls, *, model, schedulers, trainer_options, distributed_option, **kwargs):
        """Train until ``max_epoch``, resuming after the last completed epoch.

        Raises:
            SVError: There is a margin schedule but the loss has no margin, or a
                validation utterance is too short for the model.
        """
        check_shortest(model, kwargs["valid_iter_factory"])
        output_dir = Path(trainer_options.output_dir)
        if distributed_option.distributed:
            set_group_timeout(trainer_options.dist_timeout)
        if is_first_process(distributed_option):
            checkpoint.restore(output_dir)
        if distributed_option.distributed:
            torch.distributed.barrier()
            if trainer_options.sync_batchnorm:
                torchs_own = trainer_options.torch_sync_batchnorm
                synchronise_batchnorm(model, torchs_own and trainer_options.ngpu > 0)
        if trainer_options.channels_last:
            model.to(memory_format=torch.channels_last)
        if trainer_options.margin_schedule:
            trainer_options.full_margin = get_margin(model.loss)
        if trainer_options.lr_schedule:
            schedulers = build_schedulers(trainer_options, **kwargs)
        model.set_epoch(1, trainer_options.freeze_encoder_epochs)
        trainer_options.synchronised = trainable_ids(model)
        if is_first_process(distributed_option):
            trainer_options.progress = start_progress(trainer_options)
        try:
            super().run(
                model=model,
                schedulers=schedulers,
                trainer_options=trainer_options,
                distributed_option=distributed_option,
                **kwargs,
            )
            images = output_dir / "images" if trainer_options.use_matplotlib else None
            trainer_options.progress.finish(images)
        finally:
            trainer_options.progress.close()
        if is_first_process(distributed_option):
            checkpoint.discard(output_dir)

    @classmethod
    def resume(cls, checkpoint, **kwargs):
        """Resume from a checkpoint.

        Raises:
            SVError: The checkpoint is incomplete or damaged.
        """
        try:
            super().resume(checkpoint, **kwargs)
        except (SVError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as e:  # torch and pickle raise all kinds of errors
            raise SVError(
                f"{checkpoint}: is incomplete, damaged or of another training; remove"
                " it to train from the start, or choose another --output_dir"
            ) from e

    @classmethod
    def train_one_epoch(
        cls, model, *, iterator, reporter, options, distributed_option, **kwargs
    ):
        """Train one epoch, with this epoch's margin and frozen parameters."""
        epoch = reporter.get_epoch()
        unwrap(model).set_epoch(epoch, options.freeze_encoder_epochs)
        if options.margin_schedule:
            schedule = MarginSchedule(**options.margin_schedule)
            set_margin(unwrap(model).loss, schedule(epoch, options.full_margin))
        unfrozen = trainable_ids(model) != options.synchronised
        if distributed_option.distributed and unfrozen:
            model = rewrap(model, options)
        if is_first_process(distributed_option):
            checkpoint.stash(Path(options.output_dir))
        seed_by_rank(model, options, distributed_option, epoch)
        return super().train_one_epoch(
            model=model,
            iterator=options.progress.watch_training(
                DeviceBatches(iterator, "cuda" if options.ngpu > 0 else "cpu"), reporter
            ),
            reporter=reporter,
            options=options,
            distributed_option=distributed_option,
            **kwargs,
        )

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(cls, model, iterator, reporter, options, distributed_option):
        """Compute EER and minDCF of the validation trials."""
        network = unwrap(model)
        network.eval()
        device = "cuda" if options.ngpu > 0 else "cpu"
        batches = options.progress.watch_validation(iterator)
        embeddings = gather_dicts(
            embed_batches(network, batches, device), distributed_option.distributed
        )
        stats = verification_stats(options.valid_trials, embeddings)
        reporter.register(stats)
        reporter.next()
        options.progress.end_epoch(stats["eer"])


def is_first_process(distributed_option) -> bool:
    """Whether this is the only process or the one with rank 0."""
    return not distributed_option.distributed or distributed_option.dist_rank == 0


def start_progress(options: SVTrainerOptions) -> Progress:
    """Start to show the progress of a new or resumed training."""
    early = options.patience is not None
    folder = Path(options.output_dir)
    progress = Progress(folder, options.max_epoch, may_stop_early=early)
    if options.resume and (folder / checkpoint.CHECKPOINT).exists():
        with contextlib.suppress(SVError):  # which resume() raises
            progress.resume(checkpoint.read_epochs(folder))
    return progress


def check_shortest(model: "SpeakerModel", valid_iter_factory) -> None:
    """Refuse validation utterances that are too short before training starts.

    Raises:
        SVError: It names the shortest one.
    """
    utterance, samples = valid_iter_factory.shortest
    least, rate = model.backbone.minimum_samples, model.backbone.sample_rate
    if samples < least:
        raise SVError(
            f"validation utterance {utterance} has {samples / rate:.3f} s, but the"
            f" model needs {least / rate:.3f} s; leave it out of the validation set"
        )


def build_schedulers(
    options: SVTrainerOptions, *, optimizers, train_iter_factory, **_
) -> list[ScheduledLR]:
    """Build a scheduler for each optimizer from ``--lr_schedule``."""
    steps = options.max_epoch * (len(train_iter_factory.sampler) // options.accum_grad)
    schedule = CosineSchedule(**options.lr_schedule).with_default_steps(steps)
    return [ScheduledLR(optimizer, schedule) for optimizer in optimizers]
