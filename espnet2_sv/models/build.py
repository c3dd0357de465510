"""Building a speaker network from training arguments, with random or trained weights.

Functions that start from a trained model return what they took from it beside the
network, for the configuration of the new run: that is all it takes to build it again.
"""

import argparse
import copy
import logging
from typing import Any

from espnet2.torch_utils.initialize import initialize
from espnet2.train.class_choices import ClassChoices

from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.build import Backbone, build_backbone
from espnet2_sv.errors import SVError
from espnet2_sv.models.choices import head_choices, loss_choices, specaug_choices
from espnet2_sv.models.class_centres import keep_class_centres
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_state_dict, load_strictly
from espnet2_sv.zoo.files import find_model_files

# What a configuration says of the network that embeds, but for the loss
BACKBONE_KEYS = (
    "frontend",
    "frontend_conf",
    "normalize",
    "normalize_conf",
    "encoder",
    "encoder_conf",
    "conditioning_vocab",
)
ARCHITECTURE_KEYS = (*BACKBONE_KEYS, "head", "head_conf", "sample_rate")
# Settings of an encoder that change its training only, never what its weights compute
REGULARISATION_KEYS = (
    "dropout_rate",
    "positional_dropout_rate",
    "attention_dropout_rate",
    "stochastic_depth_rate",
    "gradient_checkpoint_layers",
)


def build_network(args: argparse.Namespace) -> SpeakerModel:
    """Build backbone, head and loss as the arguments say, with random weights.

    Args:
        args: Training arguments, or the contents of a trained model's configuration.

    Raises:
        SVError: A name or an option is unknown, or they do not fit together.
    """
    if args.spk_num is None:
        raise SVError(
            "spk_num is not set: it comes from --spk2utt, or from a trained config.yaml"
        )
    specaug = None
    if args.specaug:
        specaug = specaug_choices.get_class(args.specaug)(**args.specaug_conf)
    settings = {key: getattr(args, key, None) for key in BACKBONE_KEYS}
    return assemble(args, build_backbone(settings, specaug), head_choices)


def assemble(
    args: argparse.Namespace, backbone: Backbone, heads: ClassChoices
) -> SpeakerModel:
    """Put head and loss on a backbone, as the arguments say."""
    if backbone.sample_rate != args.sample_rate:
        raise SVError(
            f"--sample_rate {args.sample_rate}: the network's front end expects"
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


def start_from_speaker_model(
    args: argparse.Namespace,
) -> tuple[SpeakerModel, dict[str, Any]]:
    """Build the network of ``--init_sv`` with its weights; the loss is this run's.

    Returns:
        (model, arguments that the configuration of this run has to record).

    Raises:
        SVError: The source is not a speaker model, or does not fit this training.
    """
    files = find_model_files(args.init_sv, "sv")
    changes = {key: files.settings.get(key) for key in ARCHITECTURE_KEYS}
    changes |= {"init_sv": None, "init_sv_source": str(args.init_sv)}
    source, args = args.init_sv, with_changes(args, changes)
    model = build_network(args)
    state = without_branch(load_state_dict(files.weights))
    state = keep_class_centres(state, files, args)
    load_strictly(model, state, files.weights)
    logging.info(f"Started from the speaker model {source} ({files.weights})")
    return model, changes


def start_from_asr(
    args: argparse.Namespace, source: str
) -> tuple[SpeakerModel, dict[str, Any]]:
    """Build the network around an ASR model's encoder and copy its weights.

    Args:
        args: Training arguments; ``asr_num_blocks`` keeps the first blocks only.
        source: The ASR model, from any source.

    Returns:
        (model, arguments that the configuration of this run has to record).

    Raises:
        SVError: The ASR model cannot serve, or ``encoder_conf`` contradicts it.
    """
    bundle = load_asr_bundle(source)
    overrides = dict(args.encoder_conf)
    foreign = sorted(set(overrides) - set(REGULARISATION_KEYS))
    if foreign:
        raise SVError(
            f"encoder_conf {', '.join(foreign)}: the pretrained encoder decides this;"
            f" only {', '.join(REGULARISATION_KEYS)} can be set"
        )
    changes = backbone_settings(bundle.args, num_blocks=args.asr_num_blocks)
    changes["encoder_conf"] = {**changes["encoder_conf"], **overrides}
    changes["asr_init"] = {
        "source": str(source),
        "weights_sha256": bundle.weights_sha256,
    }
    model = build_network(with_changes(args, changes))
    assert isinstance(model.backbone, BlockBackbone)  # as of every ASR encoder
    report = copy_asr_weights(bundle, model.backbone)
    logging.info(f"Pretrained ASR encoder {source}: {report}")
    return model, changes


def with_changes(
    args: argparse.Namespace, changes: dict[str, Any]
) -> argparse.Namespace:
    """Return a copy of arguments in which some are replaced."""
    return argparse.Namespace(**copy.deepcopy(vars(args) | changes))
