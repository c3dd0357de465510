"""Speaker verification that starts from a pretrained ASR encoder."""

import argparse
import logging
from pathlib import Path

from espnet2.utils.types import int_or_none, str_or_none

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.settings import backbone_settings
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import BACKBONE_KEYS, build_network
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.train.checkpoint import has_checkpoint
from espnet2_sv.zoo.checkpoint import load_config

# Settings of the encoder that change training only, never what its weights compute.
REGULARISATION_KEYS = (
    "dropout_rate",
    "positional_dropout_rate",
    "attention_dropout_rate",
    "stochastic_depth_rate",
    "gradient_checkpoint_layers",
)


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
            help="Pretrained ASR model (asr_resolve's)",
        )
        add_encoder_arguments(group)
        parser.set_defaults(freeze_encoder_epochs=3, encoder_lr_factor=0.1)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SpeakerModel:
        """Build the model; in training, start it from ``--asr`` or ``--init_sv``."""
        if not getattr(args, "asr", None):
            if not any(
                getattr(args, k, None)
                for k in ("asr_init", "init_sv", "init_sv_source")
            ):
                raise SVError("give --asr, the pretrained ASR model to start from")
            return super().build_model(args)
        if args.init_sv:
            raise SVError("give either --asr or --init_sv, not both")
        args.sv_task = cls.sv_task
        source, args.asr = args.asr, None
        return start_from_asr(args, source)


def add_encoder_arguments(group) -> None:
    """Add the options that choose what is taken from an ASR model."""
    group.add_argument(
        "--asr_num_blocks",
        type=int_or_none,
        default=None,
        help="Use its first N blocks only",
    )


def start_from_asr(args: argparse.Namespace, source: str) -> SpeakerModel:
    """Build the network around an ASR model's encoder and copy its weights.

    A run that is being resumed does not need the ASR model: its config says what was
        taken.
    """
    previous = settings_of_previous_run(args, source)
    if previous is not None:
        vars(args).update(previous)
        return build_network(args)
    bundle = load_asr_bundle(source)
    overrides = dict(args.encoder_conf)
    foreign = sorted(set(overrides) - set(REGULARISATION_KEYS))
    if foreign:
        raise SVError(
            f"encoder_conf {', '.join(foreign)}: the pretrained encoder decides this;"
            f" only {', '.join(REGULARISATION_KEYS)} can be set"
        )
    vars(args).update(backbone_settings(bundle.args, num_blocks=args.asr_num_blocks))
    args.encoder_conf = {**args.encoder_conf, **overrides}
    args.asr_init = {"source": str(source), "weights_sha256": bundle.weights_sha256}
    model = build_network(args)
    report = copy_asr_weights(bundle, model.backbone)
    logging.info(f"Pretrained ASR encoder {source}: {report}")
    return model


def settings_of_previous_run(args: argparse.Namespace, source: str) -> dict | None:
    """Return what a run that is being resumed took from the ASR model ``source``, or None.

    Raises:
        SVError: The run was started from another ASR model.
    """
    output_dir = Path(args.output_dir or "")
    config = output_dir / "config.yaml"
    if not (args.resume and config.exists() and has_checkpoint(output_dir)):
        return None
    trained = load_config(config)
    started_from = (trained.get("asr_init") or {}).get("source")
    if started_from != str(source):
        raise SVError(
            f"{output_dir}: was started from the ASR model {started_from}, not"
            f" {source}; choose another --output_dir"
        )
    return {k: trained.get(k) for k in (*BACKBONE_KEYS, "asr_init")}
