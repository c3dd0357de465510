"""Building a speaker adaptor on its ASR model, for training and for use."""

import argparse
import copy
from typing import Any

from espnet2.train.class_choices import ClassChoices
from torch.nn import Module

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.errors import SVError
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.models.build import assemble, with_changes
from espnet2_sv.models.class_centres import keep_class_centres
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_state_dict, load_strictly
from espnet2_sv.zoo.files import ModelFiles, find_model_files

adaptor_choices = ClassChoices(
    "head", {"adaptor": SpeakerAdaptor}, type_check=Module, default="adaptor"
)


def build_adaptor(bundle: AsrBundle, args: argparse.Namespace) -> SpeakerModel:
    """Build an adaptor with random weights on an ASR model, whose modules are shared.

    Args:
        bundle: The ASR model.
        args: Training arguments.
    """
    backbone = FrozenBackbone(bundle.backbone(), bundle.weights_sha256)
    return assemble(args, backbone, adaptor_choices)


def load_adaptor(
    bundle: AsrBundle, files: ModelFiles, device: str = "cpu"
) -> tuple[SpeakerModel, argparse.Namespace]:
    """Load a trained adaptor onto an ASR model in memory; the ASR model is shared.

    Args:
        bundle: The ASR model.
        files: The adaptor.
        device: Where both go.

    Returns:
        (model, training arguments).

    Raises:
        SVError: The weights do not fit the config, or belong to another ASR model.
    """
    args = argparse.Namespace(**copy.deepcopy(files.settings))
    args.init = None  # the weights come from the file
    model = build_adaptor(bundle, args)
    load_strictly(model, load_state_dict(files.weights), files.weights)
    return model.to(device), args


def start_from_adaptor(
    bundle: AsrBundle, args: argparse.Namespace
) -> tuple[SpeakerModel, dict[str, Any]]:
    """Build the adaptor of ``--init_sv`` with its weights; the loss is this run's.

    Args:
        bundle: The ASR model.
        args: Training arguments.

    Returns:
        (model, arguments that the configuration of this run has to record).

    Raises:
        SVError: The source is not an adaptor with its classes, or does not fit.
    """
    files = find_model_files(args.init_sv, "sv")
    if files.settings.get("loss") is None:
        raise SVError(
            f"{args.init_sv}: was packed without its classes; give the training run"
            " instead"
        )
    changes = {
        "init_sv": None,
        "init_sv_source": str(args.init_sv),
        "head_conf": copy.deepcopy(files.settings["head_conf"]),
    }
    args = with_changes(args, changes)
    model = build_adaptor(bundle, args)
    state = keep_class_centres(load_state_dict(files.weights), files, args)
    load_strictly(model, state, files.weights)
    return model, changes
