import pytest
import torch

from espnet2.spk.encoder.conformer_encoder import MfaConformerEncoder
from espnet2_sv.heads.mfa import MFAHead


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("num_blocks", "block_dim", "published"),
    [(18, 512, 9_502_336), (16, 176, None), (18, 256, None)],
)
def test_parameter_count(num_blocks, block_dim, published):
    channels = num_blocks * block_dim
    layer_norm = 2 * channels
    attention = (3 * channels * 128 + 128) + 2 * 128 + (128 * channels + channels)
    by_hand = layer_norm + attention + 2 * (2 * channels) + (2 * channels * 256 + 256)
    with torch.device("meta"):
        head = MFAHead(num_blocks, block_dim)
    assert count(head) == by_hand
    assert published in (None, by_hand)


def test_normalised_streams_equal_stock_mfa_conformer():
    torch.manual_seed(0)
    stock = MfaConformerEncoder(
        input_size=20,
        output_size=8,
        attention_heads=2,
        linear_units=16,
        num_blocks=3,
        rel_pos_type="latest",
        macaron_style=True,
    ).eval()
    blocks = []
    hooks = [
        layer.register_forward_hook(lambda m, i, out: blocks.append(out[0][0]))
        for layer in stock.encoders
    ]
    reference = stock(torch.randn(2, 60, 20))
    for hook in hooks:
        hook.remove()
    head = MFAHead(3, 8)
    head.projection.layer_norm.load_state_dict(stock.ln.state_dict())
    ours = head.projection.layer_norm(torch.cat(blocks, dim=-1))
    torch.testing.assert_close(ours, reference.transpose(1, 2))


def test_embedding_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    head = MFAHead(2, 8, embed_dim=5).eval()
    blocks = [torch.randn(3, 25, 8) for _ in range(2)]
    lengths = torch.tensor([25, 9, 14])
    batched = head(blocks, lengths)
    for i, length in enumerate(lengths.tolist()):
        unbatched = head(
            [b[i : i + 1, :length] for b in blocks], torch.tensor([length])
        )
        torch.testing.assert_close(batched[i : i + 1], unbatched)


def test_a_missing_block_is_rejected():
    with pytest.raises(ValueError, match="expected 2 block outputs, got 1"):
        MFAHead(2, 8)([torch.randn(1, 5, 8)], torch.tensor([5]))
