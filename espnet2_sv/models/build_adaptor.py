"""Build a speaker adaptor on an ASR model."""

import argparse
import copy
from typing import Any

from torch.nn import Module

from espnet2.train.class_choices import ClassChoices
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.asr.prompt import SYMBOLS
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.models.build import assemble, with_changes
from espnet2_sv.models.fine_tuning import (
    find_initial_model,
    initialisation,
    load_initial_weights,
    require_architecture,
)
from espnet2_sv.models.speaker_model import SpeakerModel

adaptor_choices = ClassChoices(
    "head", {"adaptor": SpeakerAdaptor}, type_check=Module, default="adaptor"
)


def build_adaptor(bundle: AsrBundle, args: argparse.Namespace) -> SpeakerModel:
    """Build an adaptor with random weights that shares the modules of an ASR model.

    Args:
        bundle: The ASR model.
        args: Training arguments; ``lang_sym`` and ``task_sym`` are the prompt of an
            OWSM-CTC encoder.

    Raises:
        SVError: ``head_conf`` or ``loss_conf`` is invalid, or the ASR model lacks a
            symbol.
    """
    symbols = {key: getattr(args, key, None) for key in SYMBOLS}
    backbone = FrozenBackbone(bundle.backbone(**symbols), bundle.weights_sha256)
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
        SVError: The source is not an adaptor on this ASR model, or an argument
            contradicts its architecture.
    """
    files = find_initial_model(args.init_sv, adaptor=True).files
    require_architecture(args, files, [adaptor_choices])
    changes = initialisation(args, files)
    changes["head_conf"] = copy.deepcopy(files.settings["head_conf"])
    changes |= {key: files.settings.get(key) for key in SYMBOLS}
    args = with_changes(args, changes)
    model = build_adaptor(bundle, args)
    load_initial_weights(model, files, args)
    return model, changes
