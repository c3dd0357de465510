"""Train a speaker model initialised from a pretrained ASR encoder."""

import argparse

from espnet2.utils.types import int_or_none, str_or_none
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import build_network, init_from_asr, with_changes
from espnet2_sv.tasks.previous_run import encoder_of_previous_run
from espnet2_sv.tasks.sv import Built, SVTask


class SVTransferTask(SVTask):
    """Transfer learning from ASR to speaker verification (Cai & Li 2024).

    Frontend, normalisation and encoder are those of the ASR model. Their settings are
    recorded in config.yaml, so that the ASR model is not needed to resume training or
    to load a trained model.
    """

    sv_task = "transfer"

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options for transfer learning."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Transfer")
        group.add_argument(
            "--asr",
            type=str_or_none,
            default=None,
            help="Pretrained ASR model, prepared by asr_resolve",
        )
        add_encoder_arguments(group)
        parser.set_defaults(freeze_encoder_epochs=3, encoder_lr_factor=0.1)

    @classmethod
    def build(cls, args: argparse.Namespace) -> Built:
        """Build the model from ``--asr`` or ``--init_sv``."""
        if args.asr and args.init_sv:
            raise SVError("give either --asr or --init_sv, not both")
        if args.asr:
            model, changes = build_from_asr(args, args.asr)
            return model, changes | {"asr": None}
        initialised = ("asr_init", "init_sv", "init_sv_source")
        if not any(getattr(args, key, None) for key in initialised):
            raise SVError("give --asr, the pretrained ASR model")
        return super().build(args)


def add_encoder_arguments(group) -> None:
    """Add the options for initialising an encoder from an ASR model."""
    group.add_argument(
        "--asr_num_blocks",
        type=int_or_none,
        default=None,
        help="Use only the first N blocks of the ASR model's encoder",
    )


def build_from_asr(args: argparse.Namespace, source: str) -> Built:
    """Build a model with the encoder of an ASR model.

    A resumed run does not need the ASR model: its config.yaml records the encoder.
    """
    previous = encoder_of_previous_run(args, source)
    if previous is not None:
        return build_network(with_changes(args, previous)), previous
    return init_from_asr(args, source)
