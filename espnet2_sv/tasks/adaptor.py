"""Train a speaker adaptor on a frozen ASR model."""

import argparse
import logging

from espnet2.utils.types import str_or_none
from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.asr.resolve import original_source
from espnet2_sv.errors import SVError
from espnet2_sv.models.build_adaptor import (
    adaptor_choices,
    build_adaptor,
    init_from_adaptor,
)
from espnet2_sv.models.choices import loss_choices
from espnet2_sv.tasks.sv import Built, SVTask

ADAPTOR_CHOICES = [adaptor_choices, loss_choices]  # the ASR model determines the rest


class SVAdaptorTask(SVTask):
    """Train a small network on the block outputs of a frozen ASR model.

    Implements the speaker adaptor of Cai & Li (2024). The trained model contains only
    the adaptor and the hash of the ASR weights. The ASR model itself is also needed, to
    train, to resume and for inference.
    """

    sv_task = "adaptor"
    class_choices_list = ADAPTOR_CHOICES

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options for adaptor training."""
        super().add_task_arguments(parser)
        parser.add_argument_group("Adaptor").add_argument(
            "--asr",
            type=str_or_none,
            default=None,
            help="Pretrained ASR model, prepared by asr_resolve",
        )

    @classmethod
    def build(cls, args: argparse.Namespace) -> Built:
        """Build the adaptor on the ASR model of ``--asr``."""
        if not args.asr:
            raise SVError("give --asr, the pretrained ASR model of the adaptor")
        bundle = load_asr_bundle(args.asr)
        logging.info(f"Frozen ASR model {args.asr}: {bundle.summary()}")
        asr_init = {
            "source": original_source(args.asr),
            "weights_sha256": bundle.weights_sha256,
        }
        if getattr(args, "init_sv", None):
            model, changes = init_from_adaptor(bundle, args)
        else:
            model, changes = build_adaptor(bundle, args), {}
        return model, changes | {"asr_init": asr_init}
