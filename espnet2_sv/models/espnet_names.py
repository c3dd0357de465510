"""Speaker models that ESPnet's own classes compute alike, and their tensors' names.

ESPnet's speaker model pools over as many frames as its features have, so it gives the
embedding of a network of this project where the encoder keeps their number: ECAPA-TDNN.
After subsampling (Conformers, ResNet, SKA-TDNN) its means come out too small.
"""

import os
from typing import Any

import torch

from espnet2.layers.utterance_mvn import UtteranceMVN
from espnet2.spk.espnet_model import ESPnetSpeakerModel
from espnet2_sv.backbones.frame_encoders import FrameBackbone
from espnet2_sv.heads.pooled import POOLINGS, PROJECTORS, PooledHead
from espnet2_sv.models.speaker_model import (
    SpeakerModel,
    full_lengths,
    without_branch,
)
from espnet2_sv.zoo.checkpoint import load_state_dict

# Where a part of ESPnet's speaker model is in ours
_PLACES = {
    "frontend": "backbone.frontend",
    "normalize": "backbone.normalize",
    "encoder": "backbone.encoder",
    "pooling": "head.pooling",
    "projector": "head.projector",
    "loss": "loss",
}
TOLERANCE = 1.0e-4  # of embeddings, relative to their largest value
_PROBE_SECONDS = (1.3, 2.9)


def espnet_equivalent(model: SpeakerModel) -> ESPnetSpeakerModel | None:
    """Combine a model's modules to ESPnet's speaker model, if it computes the same.

    Args:
        model: The speaker model, on the CPU and in eval mode.

    Returns:
        ESPnet's model, which shares the modules; None if its embeddings would differ.
    """
    backbone, head = model.backbone, model.head
    if not isinstance(backbone, FrameBackbone) or not isinstance(head, PooledHead):
        return None
    if backbone.subsampling > 1 or model.loss is None:
        return None
    if backbone.preencoder is not None:
        return None
    if not isinstance(backbone.normalize, UtteranceMVN | None):
        return None  # statistics in the weights: ESPnet reads them from a file
    network = ESPnetSpeakerModel(
        frontend=backbone.frontend,
        specaug=None,
        normalize=backbone.normalize,
        encoder=backbone.encoder,
        pooling=head.pooling,
        projector=head.projector,
        loss=model.loss,
    ).eval()
    return network if _same_embeddings(network, model) else None


@torch.inference_mode()
def _same_embeddings(network: ESPnetSpeakerModel, model: SpeakerModel) -> bool:
    generator = torch.Generator().manual_seed(0)
    for seconds in _PROBE_SECONDS:
        samples = round(seconds * model.backbone.sample_rate)
        speech = 0.1 * torch.randn(1, samples, generator=generator)
        ours = model.embed(speech, full_lengths(speech))
        difference = (network(speech, extract_embd=True) - ours).abs().max()
        if not difference <= TOLERANCE * ours.abs().max():
            return False
    return True


def espnet_settings(settings: dict[str, Any], head: PooledHead) -> dict[str, Any]:
    """Return a model's settings with those of ESPnet's speaker task added.

    Args:
        settings: The settings of a model that has an :func:`espnet_equivalent`.
        head: Its head.
    """
    optional: dict[str, Any] = {"specaug": None, "normalize": None, "init": None}
    for part in ("frontend", "specaug", "normalize", "encoder", "loss"):
        optional[f"{part}_conf"] = {}
    return {
        **optional,
        **settings,
        "pooling": _name(head.pooling, POOLINGS),
        "pooling_conf": {},
        "projector": _name(head.projector, PROJECTORS),
        "projector_conf": {"output_size": head.embed_dim},
    }


def _name(module: torch.nn.Module, classes: dict[str, type]) -> str:
    return next(name for name, kind in classes.items() if type(module) is kind)


def load_own_weights(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Load a speaker model's weights, also under the names of ESPnet's speaker model.

    Args:
        path: The weights, which are untrusted.

    Returns:
        Tensors by the names of :class:`SpeakerModel`, without an ASR branch.

    Raises:
        SVError: The file cannot be read or holds no weights.
    """
    state = without_branch(load_state_dict(path))
    if any(name.startswith(("backbone.", "head.")) for name in state):
        return state
    return {_own_name(name): tensor for name, tensor in state.items()}


def _own_name(name: str) -> str:
    part, _, rest = name.partition(".")
    return f"{_PLACES.get(part, part)}.{rest}"
