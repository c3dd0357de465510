"""Building the speaker network's encoder from plain settings."""

import argparse
import copy
from typing import Any

import torch
from typeguard import TypeCheckError

from espnet2_sv.asr.settings import encoder_classes
from espnet2_sv.asr.weight_transfer import CopyReport, copy_asr_weights
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.mvn import StoredMVN
from espnet2_sv.errors import SVError

__all__ = ["BlockBackbone", "CopyReport", "build_backbone", "copy_asr_weights"]


def build_backbone(
    settings: dict[str, Any] | argparse.Namespace,
    specaug: torch.nn.Module | None = None,
) -> BlockBackbone:
    """Build a backbone with random weights.

    Args:
        settings: What :func:`~espnet2_sv.asr.settings.backbone_settings` returns, or
            the same keys chosen by hand; other keys are ignored.
        specaug: Augmentation of the features in training.

    Raises:
        SVError: A name or an option is unknown.
    """
    conf = copy.deepcopy(settings if isinstance(settings, dict) else vars(settings))
    try:
        frontend = build_frontend(conf)
        normalize = build_normalize(conf)
        encoder, ctc = _build_encoder(conf, frontend.output_size())
    except (TypeError, ValueError, AssertionError, TypeCheckError) as e:
        reason = str(e).splitlines()[0] if str(e) else "an option is out of range"
        raise SVError(
            f"the encoder cannot be built from these settings: {reason}"
        ) from e
    return BlockBackbone(frontend, normalize, encoder, specaug=specaug, ctc=ctc)


def build_frontend(conf: dict[str, Any]) -> torch.nn.Module:
    """Build the front end that settings ask for."""
    from espnet2.asr.frontend.default import DefaultFrontend

    if conf.get("frontend", "default") != "default":
        raise SVError(f"frontend {conf['frontend']!r} is not supported; use 'default'")
    return DefaultFrontend(**(conf.get("frontend_conf") or {}))


def build_normalize(conf: dict[str, Any]) -> torch.nn.Module | None:
    """Build the feature normalisation that settings ask for."""
    from espnet2.layers.utterance_mvn import UtteranceMVN

    choices = {"stored_mvn": StoredMVN, "utterance_mvn": UtteranceMVN}
    name = conf.get("normalize")
    if name is None:
        return None
    if name not in choices:
        raise SVError(
            f"normalize {name!r} is not supported; use {' or '.join(choices)}"
        )
    return choices[name](**(conf.get("normalize_conf") or {}))


def _build_encoder(conf: dict[str, Any], input_size: int) -> tuple:
    from espnet2.asr.ctc import CTC

    classes = encoder_classes()
    if conf.get("encoder") not in classes:
        raise SVError(
            f"encoder {conf.get('encoder')!r} is not one of {', '.join(classes)}"
        )
    encoder = classes[conf["encoder"]](
        input_size=input_size, **(conf.get("encoder_conf") or {})
    )
    vocab = conf.get("conditioning_vocab")
    if not getattr(encoder, "interctc_use_conditioning", False):
        return encoder, None
    if vocab is None:
        raise SVError(
            "a self-conditioned encoder needs conditioning_vocab, its vocabulary size"
        )
    encoder.conditioning_layer = torch.nn.Linear(vocab, encoder.output_size())
    return encoder, CTC(odim=vocab, encoder_output_size=encoder.output_size())
