"""Size and computational cost of a speaker model."""

import json
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from espnet2_sv.fileio import atomic_write
from espnet2_sv.models.stock_model import (
    EmbeddingModel,
    StockSpeakerModel,
    load_embedding_model,
)

PROBE_SECONDS = 10  # of audio, over which compute is counted


def describe(source: str | Path, asr: str | Path | None = None) -> dict[str, float]:
    """Count a speaker model's parameters and operations, see :func:`describe_model`.

    Args:
        source: The speaker model.
        asr: The ASR model that an adaptor reads, if it is not where training had it.
    """
    model, _ = load_embedding_model(source, asr=asr)
    return describe_model(model)


def describe_model(model: EmbeddingModel) -> dict[str, float]:
    """Count a speaker model's parameters and operations, for RESULTS.md.

    Args:
        model: The speaker model, on the CPU and in eval mode.

    Returns:
        ``parameters`` of the network in use, ``trained_parameters`` among them, and
        ``gmac_per_second``: billions of multiply-accumulates per second of audio.
    """
    network: list[torch.nn.Module] = [model]
    trained: list[torch.nn.Module] = [model]
    if not isinstance(model, StockSpeakerModel):
        trained = [model.backbone, model.head]
        network = [getattr(model.backbone, "frozen_module", model.backbone), model.head]
    return {
        "parameters": sum(p.numel() for part in network for p in part.parameters()),
        "trained_parameters": sum(
            p.numel() for part in trained for p in part.parameters() if p.requires_grad
        ),
        "gmac_per_second": _macs(model) / PROBE_SECONDS / 1e9,
    }


def write_system(model: EmbeddingModel, path: str | Path) -> None:
    """Write the result of :func:`describe_model` to a JSON file."""
    with atomic_write(path) as f:
        f.write(json.dumps(describe_model(model), indent=2) + "\n")


@torch.inference_mode()
def _macs(model: EmbeddingModel) -> float:
    sample_rate = getattr(model, "backbone", model).sample_rate
    samples = PROBE_SECONDS * sample_rate
    generator = torch.Generator().manual_seed(0)
    speech = 0.1 * torch.randn(1, samples, generator=generator)
    # The counter wants the history of what needs gradients, such as a view of a
    # parameter, which has none here
    trained = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            model.embed(speech, torch.tensor([samples]))
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return counter.get_total_flops() / 2
