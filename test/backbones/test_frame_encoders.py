import argparse
import math

import pytest
import torch

from espnet2.spk.espnet_model import ESPnetSpeakerModel
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.errors import SVError
from espnet2_sv.heads.pooled import PooledHead

ENCODERS = {
    "ecapa_tdnn": ({"ndim": 16, "output_size": 24}, "rawnet3", "chn_attn_stat", 1),
    "resnet": ({"m_channels": 2}, "xvector", "stats", 8),
    "ska_tdnn": ({"ndim": 16, "ska_dim": 4, "output_size": 24}, "ska_tdnn", "mean", 2),
}


@pytest.fixture(params=ENCODERS)
def parts(request):
    conf, projector, pooling, stride = ENCODERS[request.param]
    settings = {
        "frontend": "default",
        "frontend_conf": {"n_mels": 40, "hop_length": 160},
        "normalize": "utterance_mvn",
        "normalize_conf": {},
        "encoder": request.param,
        "encoder_conf": conf,
    }
    torch.manual_seed(0)
    backbone = build_backbone(settings)
    head = PooledHead(1, backbone.block_dim, 8, pooling=pooling, projector=projector)
    return argparse.Namespace(backbone=backbone, head=head, stride=stride)


@torch.no_grad()
def test_embeddings_equal_those_of_espnets_speaker_model(parts):
    backbone, head = parts.backbone.eval(), parts.head.eval()
    stock = ESPnetSpeakerModel(
        backbone.frontend,
        None,
        backbone.normalize,
        backbone.encoder,
        head.pooling,
        head.projector,
        None,
    ).eval()
    speech = torch.randn(2, 12000)
    lengths = torch.tensor([12000, 12000])
    frame_level = stock.encode_frame(stock.extract_feats(speech, lengths)[0])
    # ESPnet's forward pools with the lengths before subsampling
    expected = stock.project_spk_embd(stock.pooling(frame_level))
    blocks, frames = backbone(speech, lengths)
    torch.testing.assert_close(head(blocks, frames), expected)


@pytest.mark.parametrize("samples", [8000, 9999, 16000, 48000])
@torch.no_grad()
def test_frame_rate_and_lengths_match_the_output(parts, samples):
    lengths = torch.tensor([samples])
    (frames,), valid = parts.backbone.eval()(torch.randn(1, samples), lengths)
    features = samples // 160 + 1
    assert frames.shape[1:] == (
        math.ceil(features / parts.stride),
        parts.backbone.block_dim,
    )
    assert valid.tolist() == [frames.shape[1]]
    assert parts.backbone.frame_rate_hz == 100.0 / parts.stride


def test_every_trainable_parameter_gets_a_gradient(parts):
    blocks, lengths = parts.backbone(torch.randn(3, 9600), torch.full((3,), 9600))
    parts.head(blocks, lengths).square().sum().backward()
    for module in (parts.backbone, parts.head):
        assert [
            n
            for n, p in module.named_parameters()
            if p.grad is None and p.requires_grad
        ] == []
    ((_, grouped),) = parts.backbone.parameter_groups()
    assert {id(p) for p in grouped} == {id(p) for p in parts.backbone.parameters()}


def test_different_lengths_are_rejected(parts):
    with pytest.raises(SVError, match="batch utterances of equal length"):
        parts.backbone(torch.randn(2, 9600), torch.tensor([9600, 8000]))


@torch.no_grad()
def test_a_frozen_backbone_keeps_its_statistics(parts):
    parts.backbone.set_frozen(True)
    before = {k: v.clone() for k, v in parts.backbone.state_dict().items()}
    parts.backbone.train()
    parts.backbone(torch.randn(3, 9600), torch.full((3,), 9600))
    for name, tensor in parts.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_unknown_options_are_rejected_by_name():
    settings = {
        "frontend": "default",
        "encoder": "resnet",
        "encoder_conf": {"depth": 3},
    }
    with pytest.raises(SVError, match="depth"):
        build_backbone(settings)
