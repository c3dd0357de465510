"""ESPnet's trainer with speaker verification as its validation."""

import dataclasses
from pathlib import Path

import torch
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet2_sv.train import checkpoint
from espnet2_sv.train.ddp import gather_dicts, rewrap, trainable, unwrap
from espnet2_sv.train.validation import embed_batches, verification_stats


@dataclasses.dataclass
class SVTrainerOptions(TrainerOptions):
    """ESPnet's options and those of speaker training."""

    valid_trials: str
    freeze_encoder_epochs: int

    def __post_init__(self):
        """Set what is no option: the parameters that DistributedDataParallel synchronises."""
        self.wrapped_parameters: frozenset[int] = frozenset()


class SVTrainer(Trainer):
    """Train on speaker classes, validate by verifying held-out speakers.

    Validation embeds every utterance of the trial list once, at full length, scores the trials
    by cosine and reports the interpolated EER and minDCF, which choose the checkpoint.
    """

    @classmethod
    def build_options(cls, args):
        """Collect the trainer's options from the command line's."""
        return build_dataclass(SVTrainerOptions, args)

    @classmethod
    def run(cls, *, model, trainer_options, distributed_option, **kwargs):
        """Train until ``max_epoch``, resuming from the last epoch that ended well."""
        output_dir = Path(trainer_options.output_dir)
        is_first = not distributed_option.distributed or distributed_option.dist_rank == 0
        if is_first:
            checkpoint.put_back(output_dir)
        if distributed_option.distributed:
            torch.distributed.barrier()
        model.set_epoch(1, trainer_options.freeze_encoder_epochs)
        trainer_options.wrapped_parameters = trainable(model)
        super().run(
            model=model,
            trainer_options=trainer_options,
            distributed_option=distributed_option,
            **kwargs,
        )
        if is_first:
            checkpoint.forget(output_dir)

    @classmethod
    def train_one_epoch(cls, model, *, reporter, options, distributed_option, **kwargs):
        """Train one epoch, with the encoder frozen in the first ones."""
        unwrap(model).set_epoch(reporter.get_epoch(), options.freeze_encoder_epochs)
        if distributed_option.distributed and trainable(model) != options.wrapped_parameters:
            model = rewrap(model, options)
        if not distributed_option.distributed or distributed_option.dist_rank == 0:
            checkpoint.set_aside(Path(options.output_dir))
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
