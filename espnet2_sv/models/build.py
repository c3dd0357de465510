"""Build a speaker network from a training config, and fill in what a pretrained model says."""

import argparse
import logging

from espnet2.torch_utils.initialize import initialize
from espnet2.train.class_choices import ClassChoices
from torch.nn import Module

from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.backbones.frame_encoders import FRAME_ENCODERS, build_frame_backbone
from espnet2_sv.errors import SVError
from espnet2_sv.models.choices import head_choices, loss_choices, specaug_choices
from espnet2_sv.models.class_centres import keep_class_centres
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.source import find_model_files

# What a config says of the network that embeds; the loss is the training's own
# business.
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


def build_network(args: argparse.Namespace) -> SpeakerModel:
    """Build backbone, head and loss as the config says, with random weights."""
    if args.spk_num is None:
        raise SVError(
            "spk_num is not set: it comes from --spk2utt, or from a trained config.yaml"
        )
    specaug = args.specaug and specaug_choices.get_class(args.specaug)(
        **args.specaug_conf
    )
    settings = {k: getattr(args, k, None) for k in BACKBONE_KEYS}
    build = build_frame_backbone if args.encoder in FRAME_ENCODERS else build_backbone
    backbone = build(settings, specaug=specaug)
    return assemble(args, backbone, head_choices)


def assemble(
    args: argparse.Namespace, backbone: Module, heads: ClassChoices
) -> SpeakerModel:
    """Put head and loss on a backbone, as the config says."""
    if backbone.sample_rate != args.sample_rate:
        raise SVError(
            f"--sample_rate {args.sample_rate}: the network's front end expects "
            f"{backbone.sample_rate} Hz"
        )
    # The encoder's outputs depend on padding: batch utterances of equal length only.
    args.padding_sensitive = backbone.padding_sensitive
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


def start_from_speaker_model(args: argparse.Namespace) -> SpeakerModel:
    """Build the network of ``--init_sv``, load its weights, keep this run's loss settings."""
    source, args.init_sv = args.init_sv, None
    files = find_model_files(source, kinds="sv")
    trained = load_config(files.config)
    for key in ARCHITECTURE_KEYS:
        setattr(args, key, trained.get(key))
    args.init_sv_source = str(source)
    model = build_network(args)
    state = without_branch(load_state_dict(files.weights))
    state = keep_class_centres(state, trained, files, args)
    load_strictly(model, state, where=str(files.weights))
    logging.info(f"Started from the speaker model {source} ({files.weights})")
    return model


def load_strictly(model, state: dict, where: str) -> None:
    """Load a state dict of which every tensor must be there, be used and fit.

    Raises:
        SVError: One line naming the tensors that differ.
    """
    own = model.state_dict()
    problems = [f"missing {k}" for k in own if k not in state]
    problems += [f"unexpected {k}" for k in state if k not in own]
    problems += [
        f"{k} has shape {tuple(v.shape)}, expected {tuple(own[k].shape)}"
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise SVError(
            f"{where}: does not fit the model: {'; '.join(problems[:3])}{more}"
        )
    model.load_state_dict(state, strict=True)
