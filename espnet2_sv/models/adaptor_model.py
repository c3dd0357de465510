"""A speaker adaptor on its ASR model, as training and use build it."""

import argparse
from pathlib import Path

from espnet2.train.class_choices import ClassChoices
from torch.nn import Module

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.errors import SVError
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.models.build import assemble, load_strictly
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.source import ModelFiles, find_model_files, find_package, holds_kind

adaptor_choices = ClassChoices(
    "head", {"adaptor": SpeakerAdaptor}, type_check=Module, default="adaptor"
)


def build_on(bundle: AsrBundle, args: argparse.Namespace) -> SpeakerModel:
    """Build an adaptor with random weights on an ASR model, whose modules are shared."""
    backbone = FrozenBackbone(bundle.backbone(), bundle.weights_sha256)
    return assemble(args, backbone, adaptor_choices)


def load_on(
    bundle: AsrBundle,
    config: str | Path,
    weights: str | Path | None,
    device: str = "cpu",
) -> tuple[SpeakerModel, argparse.Namespace]:
    """Load a trained adaptor onto an ASR model that is in memory; the ASR model is shared.

    Args:
        bundle: The ASR model.
        config: The adaptor's config.yaml.
        weights: The adaptor's weights; random ones if not given.
        device: Where both go.

    Returns:
        (model, training arguments).

    Raises:
        SVError: The weights do not fit the config, or belong to another ASR model.
    """
    args = argparse.Namespace(**load_config(config))
    args.init = None  # the weights come from the file
    model = build_on(bundle, args)
    if weights is not None:
        load_strictly(model, load_state_dict(weights), where=str(weights))
    return model.to(device), args


def find_asr(config: str | Path, asr: str | Path | None = None) -> ModelFiles:
    """Find the ASR model that a trained adaptor reads.

    Args:
        config: The adaptor's config.yaml.
        asr: The ASR model, if the user names one. Otherwise it is the one in the same
            package, or else the one that training started from, at the same place as
            seen from the current folder or from a folder above the config.

    Raises:
        SVError: There is none.
    """
    if asr:
        return find_model_files(asr, kinds="asr")
    config = Path(config)
    package = find_package(config)
    if package is not None and holds_kind(package, "asr"):
        return find_model_files(package, kinds="asr")
    conf = load_config(config)
    recorded = conf.get("asr")
    try:
        if not recorded:
            raise SVError("the package holds the adaptor alone")
        return find_model_files(_seen_from(config, recorded), kinds="asr")
    except SVError as e:
        name = (conf.get("asr_init") or {}).get("source") or recorded
        raise SVError(
            f"{config}: give the ASR model that this adaptor reads (--asr or asr=); it"
            f" was {name} in training ({e})"
        ) from e


def _seen_from(config: Path, recorded: str) -> str:
    """Return the path of a recorded source as it is now; the source itself where it is a tag."""
    starts = [Path(), *config.resolve().parents]
    found = (start / recorded for start in starts if (start / recorded).exists())
    return str(next(found, recorded))
