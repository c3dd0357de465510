"""ESPnet's trainer with speaker verification as its validation."""

from pathlib import Path

import torch
from espnet2.train.trainer import Trainer
from espnet2.utils.build_dataclass import build_dataclass

from espnet2_sv.train import checkpoint
from espnet2_sv.train.distributed import (
    gather_dicts,
    rewrap,
    synchronise_batchnorm,
    trainable,
    unwrap,
)
from espnet2_sv.train.lr_schedule import CosineSchedule, ScheduledLR
from espnet2_sv.train.margin_schedule import MarginSchedule, margin_of, set_margin
from espnet2_sv.train.options import SVTrainerOptions, add_trainer_arguments
from espnet2_sv.train.validation import embed_batches, verification_stats


class SVTrainer(Trainer):
    """Train on speaker classes, validate by verifying held-out speakers.

    Validation embeds every utterance of the trial list once, at full length, scores the
    trials by cosine and reports the interpolated EER and minDCF, which choose the
    checkpoint.
    """

    @classmethod
    def add_arguments(cls, parser):
        """Add the trainer's own options."""
        add_trainer_arguments(parser)

    @classmethod
    def build_options(cls, args):
        """Collect the trainer's options from the command line's."""
        return build_dataclass(SVTrainerOptions, args)

    @classmethod
    def run(cls, *, model, schedulers, trainer_options, distributed_option, **kwargs):
        """Train until ``max_epoch``, resuming from the last epoch that ended well."""
        output_dir = Path(trainer_options.output_dir)
        is_first = (
            not distributed_option.distributed or distributed_option.dist_rank == 0
        )
        if is_first:
            checkpoint.restore(output_dir)
        if distributed_option.distributed:
            torch.distributed.barrier()
            if trainer_options.sync_batchnorm:
                synchronise_batchnorm(
                    model, "cuda" if trainer_options.ngpu > 0 else "cpu"
                )
        if trainer_options.margin_schedule:
            trainer_options.full_margin = margin_of(model.loss)
        if trainer_options.lr_schedule:
            schedulers = scheduled(trainer_options, **kwargs)
        model.set_epoch(1, trainer_options.freeze_encoder_epochs)
        trainer_options.wrapped_parameters = trainable(model)
        super().run(
            model=model,
            schedulers=schedulers,
            trainer_options=trainer_options,
            distributed_option=distributed_option,
            **kwargs,
        )
        if is_first:
            checkpoint.discard(output_dir)

    @classmethod
    def train_one_epoch(cls, model, *, reporter, options, distributed_option, **kwargs):
        """Train one epoch, with the encoder frozen in the first ones."""
        epoch = reporter.get_epoch()
        unwrap(model).set_epoch(epoch, options.freeze_encoder_epochs)
        if options.margin_schedule:
            schedule = MarginSchedule(**options.margin_schedule)
            set_margin(unwrap(model).loss, schedule(epoch, options.full_margin))
        if (
            distributed_option.distributed
            and trainable(model) != options.wrapped_parameters
        ):
            model = rewrap(model, options)
        if not distributed_option.distributed or distributed_option.dist_rank == 0:
            checkpoint.stash(Path(options.output_dir))
        return super().train_one_epoch(
            model=model,
            reporter=reporter,
            options=options,
            distributed_option=distributed_option,
            **kwargs,
        )

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(cls, model, iterator, reporter, options, distributed_option):
        """Embed each utterance of the validation trials once and report EER and minDCF."""
        network = unwrap(model)
        network.eval()
        device = "cuda" if options.ngpu > 0 else "cpu"
        embeddings = gather_dicts(
            embed_batches(network, iterator, device), distributed_option.distributed
        )
        reporter.register(verification_stats(options.valid_trials, embeddings))
        reporter.next()


def scheduled(
    options: SVTrainerOptions, *, optimizers, train_iter_factory, **_
) -> list:
    """Return a scheduler for each optimizer that follows ``--lr_schedule``."""
    steps = options.max_epoch * (len(train_iter_factory.sampler) // options.accum_grad)
    schedule = CosineSchedule(**options.lr_schedule).over(steps)
    return [ScheduledLR(optimizer, schedule) for optimizer in optimizers]
