"""Train a speaker adaptor on a frozen ASR model."""

import argparse
import logging

from espnet2.utils.types import str_or_none
from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.asr.prompt import SYMBOLS, prompt_symbols
from espnet2_sv.asr.resolve import original_source
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import with_changes
from espnet2_sv.models.build_adaptor import (
    adaptor_choices,
    build_adaptor,
    init_from_adaptor,
)
from espnet2_sv.models.choices import loss_choices
from espnet2_sv.models.fine_tuning import asr_of_initial_model
from espnet2_sv.tasks.previous_run import (
    initial_model_of_previous_run,
    prompt_of_run,
)
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
            help=(
                "Pretrained ASR model, prepared by asr_resolve; by default that of the"
                " adaptor of --init_sv"
            ),
        )

    @classmethod
    def build(cls, args: argparse.Namespace) -> Built:
        """Build the adaptor on the ASR model of ``--asr`` or of ``--init_sv``."""
        init_sv = getattr(args, "init_sv", None)
        previous = initial_model_of_previous_run(args) if init_sv else None
        asr = args.asr or (previous or {}).get("asr")
        if not asr and init_sv:
            asr = asr_of_initial_model(init_sv)
        if not asr:
            raise SVError("give --asr, the pretrained ASR model of the adaptor")
        bundle = load_asr_bundle(asr)
        logging.info(f"Frozen ASR model {asr}: {bundle.summary()}")
        if previous is not None:
            kept = {key: previous.get(key) for key in ("head_conf", *SYMBOLS)}
            model, changes = build_adaptor(bundle, with_changes(args, kept)), previous
        elif init_sv:
            model, changes = init_from_adaptor(bundle, args)
        else:
            changes = prompt_symbols(bundle.args, **prompt_of_run(args))
            model = build_adaptor(bundle, with_changes(args, changes))
        asr_init = changes.get("asr_init") or {}
        if asr_init.get("weights_sha256") != bundle.weights_sha256:
            asr_init = {
                "source": original_source(asr),
                "weights_sha256": bundle.weights_sha256,
            }
        return model, changes | {"asr": asr, "asr_init": asr_init}
