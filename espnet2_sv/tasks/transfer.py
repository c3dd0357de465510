"""Speaker verification that starts from a pretrained ASR encoder."""

import argparse

from espnet2.utils.types import int_or_none, str_or_none

from espnet2_sv.errors import SVError
from espnet2_sv.models.build import build_network, start_from_asr, with_changes
from espnet2_sv.tasks.previous_run import encoder_of_previous_run
from espnet2_sv.tasks.sv import Built, SVTask


class SVTransferTask(SVTask):
    """Initialise the speaker network with an ASR encoder, then train it on speakers.

    Front end, normalisation and encoder are the ASR checkpoint's own. They are written
    to config.yaml, so that neither resuming nor loading a trained model needs the ASR
    files.
    """

    sv_task = "transfer"

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of transfer learning."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Transfer")
        group.add_argument(
            "--asr",
            type=str_or_none,
            default=None,
            help="Pretrained ASR model, as prepared by asr_resolve",
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
        started = ("asr_init", "init_sv", "init_sv_source")
        if not any(getattr(args, key, None) for key in started):
            raise SVError("give --asr, the pretrained ASR model to start from")
        return super().build(args)


def add_encoder_arguments(group) -> None:
    """Add the options that choose what is taken from an ASR model."""
    group.add_argument(
        "--asr_num_blocks",
        type=int_or_none,
        default=None,
        help="Use only the first N blocks of its encoder",
    )


def build_from_asr(args: argparse.Namespace, source: str) -> Built:
    """Build the network around an ASR model's encoder.

    A run that is being resumed does not need the ASR model: its config says what was
    taken.
    """
    previous = encoder_of_previous_run(args, source)
    if previous is not None:
        return build_network(with_changes(args, previous)), previous
    return start_from_asr(args, source)
