"""What is offered to ESPnet's own packages computes what this project does."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from asr_models import (  # noqa: F401
    own_cache,
    small_conformer,
    train_asr,
)

from espnet2.spk.pooling.chn_attn_stat_pooling import ChnAttnStatPooling
from espnet2.spk.projector.rawnet3_projector import RawNet3Projector
from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.heads import SpeakerAdaptor

CONTRIB = Path(__file__).resolve().parents[2] / "tools" / "upstream" / "contrib"


def contributed(path: str):
    """A module for ESPnet's packages, which the installed ESPnet lacks."""
    name = "contributed_" + Path(path).stem
    spec = importlib.util.spec_from_file_location(name, CONTRIB / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def frontend_class():
    path = "espnet_asr/tree/espnet2/asr/frontend/espnet_asr.py"
    return contributed(path).ESPnetASRFrontend


@pytest.fixture
def encoder_class():
    path = "speaker_adaptor/tree/espnet2/spk/encoder/speaker_adaptor.py"
    return contributed(path).SpeakerAdaptorEncoder


def test_frontend(train_asr, small_conformer, frontend_class):  # noqa: F811
    """It gives the outputs of all blocks."""
    trained = train_asr(small_conformer())
    frontend = frontend_class(
        asr_train_config=str(trained.config),
        asr_model_file=str(trained.weights),
        layer_norm=False,
    ).eval()
    backbone = load_asr_bundle(trained.exp).backbone().eval()
    speech = 0.1 * torch.randn(2, 9000)
    lengths = torch.tensor([9000, 9000])
    with torch.no_grad():
        theirs, frames = frontend(speech, lengths)
        ours, our_frames = backbone(speech, lengths)
    assert frames.tolist() == our_frames.tolist()
    torch.testing.assert_close(theirs, torch.cat(ours, dim=-1))


def test_encoder_is_the_speaker_adaptor(encoder_class):
    torch.manual_seed(0)
    ours = SpeakerAdaptor(num_blocks=3, block_dim=8, embed_dim=16).eval()
    with torch.no_grad():
        for tensor in ours.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.1 * torch.rand_like(tensor)
    encoder = encoder_class(3 * 8, num_blocks=3).eval()
    pooling = ChnAttnStatPooling(encoder.output_size()).eval()
    projector = RawNet3Projector(pooling.output_size(), 16).eval()
    # Both list their parts in the order of the computation
    theirs = [t for m in (encoder, pooling, projector) for t in m.state_dict().values()]
    weights = list(ours.state_dict().values())
    assert [t.numel() for t in theirs] == [t.numel() for t in weights]
    for target, source in zip(theirs, weights, strict=True):
        target.copy_(source.view_as(target))
    blocks = [torch.randn(2, 40, 8) for _ in range(3)]
    lengths = torch.tensor([40, 40])
    with torch.no_grad():
        frames = encoder(torch.cat(blocks, dim=-1))
        embedding = projector(pooling(frames, feat_lengths=lengths))
        expected = ours(blocks, lengths)
    torch.testing.assert_close(embedding, expected, rtol=1e-3, atol=1e-3)
