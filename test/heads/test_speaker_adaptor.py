import pytest
import torch

from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.heads.light_conformer import conformer_block


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("num_blocks", "block_dim", "published"),
    [(18, 512, 4_921_728), (12, 512, 3_636_864), (12, 256, 3_243_648)],
)
def test_parameter_count(num_blocks, block_dim, published):
    assert count(SpeakerAdaptor(num_blocks, block_dim)) == published


def test_light_block_parameter_count():
    assert count(conformer_block(128, 4, 512, 31, 0.1, 0.0)) == 401_280


def test_layer_norm_adds_two_vectors_per_block():
    plain, normed = (
        count(SpeakerAdaptor(18, 512, layer_norm=n)) for n in (False, True)
    )
    assert normed - plain == 18 * 2 * 512


@pytest.mark.parametrize(
    "settings", [{}, {"num_light_blocks": 0}, {"read_blocks": [1, 3]}]
)
def test_embedding_does_not_depend_on_its_batch(settings):
    torch.manual_seed(0)
    adaptor = SpeakerAdaptor(
        3, 12, adaptor_dim=8, embed_dim=6, linear_units=16, **settings
    ).eval()
    blocks = [torch.randn(3, 60, 12) for _ in range(3)]
    lengths = torch.tensor([60, 21, 44])
    batched = adaptor(blocks, lengths)
    assert batched.shape == (3, 6)
    for i, length in enumerate(lengths.tolist()):
        unbatched = adaptor(
            [b[i : i + 1, :length] for b in blocks], torch.tensor([length])
        )
        torch.testing.assert_close(batched[i : i + 1], unbatched, atol=1e-5, rtol=1e-5)


def test_only_the_selected_blocks_are_used():
    torch.manual_seed(0)
    adaptor = SpeakerAdaptor(
        3, 12, adaptor_dim=8, embed_dim=6, read_blocks=[2, 3]
    ).eval()
    blocks, lengths = [torch.randn(2, 30, 12) for _ in range(3)], torch.tensor([30, 30])
    other = [torch.randn(2, 30, 12), *blocks[1:]]
    torch.testing.assert_close(adaptor(blocks, lengths), adaptor(other, lengths))
    changed = adaptor([blocks[0], torch.randn(2, 30, 12), blocks[2]], lengths)
    assert not torch.allclose(adaptor(blocks, lengths), changed)


@pytest.mark.parametrize("read_blocks", [[], [0], [4], [1, 1]])
def test_invalid_read_blocks_are_rejected(read_blocks):
    with pytest.raises(ValueError, match="choose different blocks 1 to 3"):
        SpeakerAdaptor(3, 12, read_blocks=read_blocks)
