"""Build a speaker model from training arguments, with random or pretrained weights.

The ``init_from_*`` functions also return the arguments that they took over from the
pretrained model. Recorded in the config.yaml of the new run, these are sufficient to
rebuild the model.
"""

import argparse
import copy
import logging
from typing import Any

from espnet2.torch_utils.initialize import initialize
from espnet2.train.class_choices import ClassChoices
from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.asr.prompt import SYMBOLS
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.build import Backbone, build_backbone
from espnet2_sv.errors import SVError
from espnet2_sv.models.choices import head_choices, loss_choices, specaug_choices
from espnet2_sv.models.speaker_model import SpeakerModel

# Config keys of the backbone
BACKBONE_KEYS = (
    "frontend",
    "frontend_conf",
    "normalize",
    "normalize_conf",
    "preencoder",
    "preencoder_conf",
    "encoder",
    "encoder_conf",
    "conditioning_vocab",
    "lang_sym",
    "task_sym",
)
# Config keys of the whole model except the loss
ARCHITECTURE_KEYS = (*BACKBONE_KEYS, "head", "head_conf", "sample_rate")
# Encoder options that affect training only, not inference
REGULARISATION_KEYS = (
    "dropout_rate",
    "positional_dropout_rate",
    "attention_dropout_rate",
    "stochastic_depth_rate",
    "gradient_checkpoint_layers",
)


def build_network(args: argparse.Namespace) -> SpeakerModel:
    """Build backbone, head and loss with random weights.

    Args:
        args: Training arguments, or the config.yaml of a trained model.

    Raises:
        SVError: A name is unknown, an option is invalid, or options are incompatible.
    """
    if args.spk_num is None:
        raise SVError(
            "spk_num is not set: it comes from --spk2utt or a trained model's"
            " config.yaml"
        )
    specaug = None
    if args.specaug:
        try:
            specaug = specaug_choices.get_class(args.specaug)(**args.specaug_conf)
        except (TypeError, ValueError, AssertionError) as e:
            raise SVError(f"specaug or specaug_conf: {e}") from e
    settings = {key: getattr(args, key, None) for key in BACKBONE_KEYS}
    return assemble(args, build_backbone(settings, specaug), head_choices)


def assemble(
    args: argparse.Namespace, backbone: Backbone, heads: ClassChoices
) -> SpeakerModel:
    """Combine a backbone with the head and the loss of the training arguments.

    Args:
        args: Training arguments.
        backbone: The backbone.
        heads: The available heads.

    Raises:
        SVError: The sampling rate, ``head_conf`` or ``loss_conf`` is invalid.
    """
    if backbone.sample_rate != args.sample_rate:
        raise SVError(
            f"--sample_rate {args.sample_rate}: the model's frontend expects"
            f" {backbone.sample_rate} Hz"
        )
    try:
        head = heads.get_class(args.head)(
            num_blocks=backbone.num_blocks,
            block_dim=backbone.block_dim,
            **args.head_conf,
        )
        loss = args.loss and loss_choices.get_class(args.loss)(
            nout=head.embed_dim, nclasses=args.spk_num, **args.loss_conf
        )
    except (TypeError, ValueError) as e:
        raise SVError(f"head_conf or loss_conf: {e}") from e
    model = SpeakerModel(backbone, head, loss)
    if args.init is not None:
        initialize(model, args.init)
    return model


def init_from_asr(
    args: argparse.Namespace, source: str
) -> tuple[SpeakerModel, dict[str, Any]]:
    """Build a model with the encoder of an ASR model and its weights.

    Args:
        args: Training arguments; ``asr_num_blocks`` limits the encoder to its first
            blocks, ``lang_sym`` and ``task_sym`` are the prompt of an OWSM-CTC encoder.
        source: The ASR model, from any source.

    Returns:
        The model, and the arguments to record in this run's config.yaml.

    Raises:
        SVError: The ASR model is not supported, or ``encoder_conf`` sets an option that
            the pretrained encoder determines.
    """
    bundle = load_asr_bundle(source)
    overrides = dict(args.encoder_conf)
    fixed = sorted(set(overrides) - set(REGULARISATION_KEYS))
    if fixed:
        raise SVError(
            f"encoder_conf {', '.join(fixed)}: fixed by the pretrained encoder; only"
            f" {', '.join(REGULARISATION_KEYS)} can be set"
        )
    symbols = {key: getattr(args, key, None) for key in SYMBOLS}
    changes = backbone_settings(bundle.args, args.asr_num_blocks, **symbols)
    changes["encoder_conf"] = {**changes["encoder_conf"], **overrides}
    changes["asr_init"] = {
        "source": str(source),
        "weights_sha256": bundle.weights_sha256,
    }
    model = build_network(with_changes(args, changes))
    assert isinstance(model.backbone, BlockBackbone)  # as of every ASR encoder
    report = copy_asr_weights(bundle, model.backbone, **symbols)
    logging.info(f"Pretrained ASR encoder {source}: {report}")
    return model, changes


def with_changes(
    args: argparse.Namespace, changes: dict[str, Any]
) -> argparse.Namespace:
    """Return a deep copy of the arguments with some of them replaced."""
    return argparse.Namespace(**copy.deepcopy(vars(args) | changes))
