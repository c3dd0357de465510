import pytest
import torch

from espnet2.spk.encoder.speaker_adaptor import SpeakerAdaptorEncoder
from espnet2.spk.pooling.chn_attn_stat_pooling import ChnAttnStatPooling
from espnet2.spk.projector.rawnet3_projector import RawNet3Projector
from espnet2.tasks.spk import encoder_choices

SMALL = dict(adaptor_size=8, attention_heads=2, linear_units=12, cnn_module_kernel=3)


def test_published_number_of_parameters():
    encoder = SpeakerAdaptorEncoder(18 * 512, num_blocks=18)
    pooling = ChnAttnStatPooling(encoder.output_size())
    projector = RawNet3Projector(pooling.output_size(), 256)
    modules = (encoder, pooling, projector)
    assert sum(p.numel() for m in modules for p in m.parameters()) == 4921728


@pytest.mark.parametrize("num_light_blocks", [0, 2])
def test_forward_backward(num_light_blocks):
    encoder = SpeakerAdaptorEncoder(
        12, num_blocks=3, num_light_blocks=num_light_blocks, **SMALL
    )
    x = torch.randn(2, 10, 12, requires_grad=True)
    y = encoder(x)
    assert y.shape == (2, encoder.output_size(), 10)
    assert encoder.output_size() == (3 + num_light_blocks) * 8
    y.square().sum().backward()
    assert x.grad.abs().sum(dim=(0, 1)).min() > 0  # every block output is used
    assert all(p.grad is not None for p in encoder.parameters())


def test_layer_adaptors_are_applied_frame_by_frame():
    encoder = SpeakerAdaptorEncoder(12, num_blocks=3, num_light_blocks=0, **SMALL)
    x = torch.randn(2, 10, 12)
    y = encoder(x)
    torch.testing.assert_close(encoder(x[:, 4:5]), y[:, :, 4:5])
    changed = x.clone()
    changed[:, :, 4:8] += 1.0  # the second block's output
    with torch.no_grad():
        streams = [a(b) for a, b in zip(encoder.adaptors, changed.split(4, dim=-1))]
    expected = encoder.norm(torch.cat(streams, dim=-1)).transpose(1, 2)
    torch.testing.assert_close(encoder(changed), expected)


def test_wrong_number_of_blocks():
    with pytest.raises(ValueError, match="num_blocks=5"):
        SpeakerAdaptorEncoder(12, num_blocks=5)


def test_choice_of_speaker_task():
    assert encoder_choices.get_class("speaker_adaptor") is SpeakerAdaptorEncoder
