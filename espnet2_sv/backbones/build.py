"""Build a backbone with random weights from a plain config."""

import argparse
import copy
from typing import Any

import torch
from typeguard import TypeCheckError

from espnet2.asr.ctc import CTC
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.encoder.e_branchformer_ctc_encoder import EBranchformerCTCEncoder
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.asr.preencoder.linear import LinearProjection
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.utterance_mvn import UtteranceMVN
from espnet2_sv.backbones.blocks import BLOCK_ENCODERS, BlockBackbone
from espnet2_sv.backbones.features import StoredMVN
from espnet2_sv.backbones.frame_encoders import FRAME_ENCODERS, FrameBackbone
from espnet2_sv.backbones.front_ends import SafeS3prlFrontend
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.backbones.prompted import Prompt, PromptedBackbone
from espnet2_sv.errors import SVError

Backbone = BlockBackbone | FrameBackbone | FrozenBackbone

# Classes by their names in a config
FRONTENDS = {"default": DefaultFrontend, "s3prl": SafeS3prlFrontend}
PREENCODERS = {"linear": LinearProjection}
NORMALIZATIONS = {"utterance_mvn": UtteranceMVN, "stored_mvn": StoredMVN}
ENCODERS = BLOCK_ENCODERS | FRAME_ENCODERS


def build_backbone(
    settings: dict[str, Any] | argparse.Namespace,
    specaug: AbsSpecAug | None = None,
) -> BlockBackbone | FrameBackbone:
    """Build a backbone with random weights.

    Args:
        settings: ``encoder``, ``encoder_conf`` and optionally ``frontend``,
            ``frontend_conf``, ``normalize``, ``normalize_conf``, ``preencoder``,
            ``preencoder_conf`` and ``conditioning_vocab``; other keys are ignored.
        specaug: SpecAugment or similar, applied in training only.

    Returns:
        A :class:`FrameBackbone` for the encoders of ESPnet's speaker models, otherwise
        a :class:`BlockBackbone`: a :class:`PromptedBackbone` for that of OWSM-CTC.

    Raises:
        SVError: A name is unknown or an option is invalid.
    """
    conf = copy.deepcopy(settings if isinstance(settings, dict) else vars(settings))
    frontend_class = _class(conf, "frontend", FRONTENDS, default="default")
    encoder_class = _class(conf, "encoder", ENCODERS)
    normalize = preencoder = None
    try:
        frontend = frontend_class(**(conf.get("frontend_conf") or {}))
        if conf.get("normalize") is not None:
            normalize_class = _class(conf, "normalize", NORMALIZATIONS)
            normalize = normalize_class(**(conf.get("normalize_conf") or {}))
        if conf.get("preencoder") is not None:
            preencoder_class = _class(conf, "preencoder", PREENCODERS)
            preencoder = preencoder_class(**(conf.get("preencoder_conf") or {}))
        encoder = encoder_class(
            input_size=(preencoder or frontend).output_size(),
            **(conf.get("encoder_conf") or {}),
        )
    except (TypeError, ValueError, AssertionError, TypeCheckError) as e:
        reason = str(e).splitlines()[0] if str(e) else "an option is out of range"
        raise SVError(f"cannot build the encoder from this config: {reason}") from e
    if conf["encoder"] in FRAME_ENCODERS:
        return FrameBackbone(frontend, normalize, encoder, specaug, preencoder)
    ctc = _add_conditioning(encoder, conf.get("conditioning_vocab"))
    if isinstance(encoder, EBranchformerCTCEncoder):
        prompt = Prompt.random(encoder.output_size())
        parts = frontend, normalize, encoder, prompt, specaug, ctc, preencoder
        return PromptedBackbone(*parts)
    return BlockBackbone(frontend, normalize, encoder, specaug, ctc, preencoder)


def _class(
    conf: dict[str, Any], key: str, classes: dict[str, type], default: str | None = None
) -> type:
    name = conf.get(key, default)
    if name not in classes:
        raise SVError(f"{key} {name!r} is not one of {', '.join(classes)}")
    return classes[name]


def _add_conditioning(encoder: AbsEncoder, vocab: int | None) -> CTC | None:
    """Add the CTC feedback layer to a self-conditioned encoder and return its CTC."""
    if not getattr(encoder, "interctc_use_conditioning", False):
        return None
    if vocab is None:
        raise SVError(
            "a self-conditioned encoder needs conditioning_vocab, the vocabulary size"
        )
    encoder.conditioning_layer = torch.nn.Linear(vocab, encoder.output_size())
    return CTC(odim=vocab, encoder_output_size=encoder.output_size())
