"""Build a speaker adaptor on an ASR model."""

import argparse
import copy
from typing import Any

from torch.nn import Module

from espnet2.train.class_choices import ClassChoices
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.errors import SVError
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.models.build import (
    assemble,
    find_initial_model,
    load_initial_weights,
    with_changes,
)
from espnet2_sv.models.speaker_model import SpeakerModel

adaptor_choices = ClassChoices(
    "head", {"adaptor": SpeakerAdaptor}, type_check=Module, default="adaptor"
)


def build_adaptor(bundle: AsrBundle, args: argparse.Namespace) -> SpeakerModel:
    """Build an adaptor with random weights that shares the modules of an ASR model.

    Args:
        bundle: The ASR model.
        args: Training arguments.

    Raises:
        SVError: ``head_conf`` or ``loss_conf`` is invalid.
    """
    backbone = FrozenBackbone(bundle.backbone(), bundle.weights_sha256)
    return assemble(args, backbone, adaptor_choices)


def init_from_adaptor(
    bundle: AsrBundle, args: argparse.Namespace
) -> tuple[SpeakerModel, dict[str, Any]]:
    """Build the adaptor of ``--init_sv`` with its weights and the loss of this run.

    Args:
        bundle: The ASR model.
        args: Training arguments.

    Returns:
        The model, and the arguments to record in this run's config.yaml.

    Raises:
        SVError: The source is not an adaptor with its classifier, or does not match
            this training.
    """
    files = find_initial_model(args.init_sv)
    if files.settings.get("loss") is None:
        raise SVError(
            f"{args.init_sv}: was packed without its classifier; give the training run"
            " instead"
        )
    changes = {
        "init_sv": None,
        "init_sv_source": str(args.init_sv),
        "head_conf": copy.deepcopy(files.settings["head_conf"]),
    }
    args = with_changes(args, changes)
    model = build_adaptor(bundle, args)
    load_initial_weights(model, files, args)
    return model, changes
