import pytest
import torch

from espnet2.spk.pooling.chn_attn_stat_pooling import ChnAttnStatPooling
from espnet2_sv.heads.pooling import AttentiveStatisticsPooling, weighted_mean_std


def stock_pooling(pooling: AttentiveStatisticsPooling) -> ChnAttnStatPooling:
    """ESPnet's pooling with the same weights."""
    stock = ChnAttnStatPooling(pooling.channels)
    hidden, _, norm, score = stock.attention
    with torch.no_grad():
        hidden.weight.copy_(pooling.hidden.weight[..., None])
        hidden.bias.copy_(pooling.hidden.bias)
        score.weight.copy_(pooling.score.weight[..., None])
        score.bias.copy_(pooling.score.bias)
    norm.load_state_dict(pooling.norm.state_dict())
    return stock.eval()


def test_equals_espnets_pooling_on_unpadded_input():
    torch.manual_seed(0)
    pooling = AttentiveStatisticsPooling(24)
    # Updates the running statistics
    pooling(torch.randn(8, 50, 24), torch.full((8,), 50))
    pooling.eval()
    x = torch.randn(3, 40, 24)
    ours = pooling(x, torch.full((3,), 40))
    torch.testing.assert_close(
        ours, stock_pooling(pooling)(x.transpose(1, 2)), atol=1e-5, rtol=1e-5
    )


def test_padding_has_no_influence():
    torch.manual_seed(0)
    pooling = AttentiveStatisticsPooling(16).eval()
    x = torch.randn(2, 30, 16)
    unbatched = pooling(x[:1, :17], torch.tensor([17]))
    x[0, 17:] = 1.0e4
    torch.testing.assert_close(pooling(x, torch.tensor([17, 30]))[:1], unbatched)


def test_padding_has_no_influence_on_batch_statistics():
    torch.manual_seed(0)
    poolings = [AttentiveStatisticsPooling(16) for _ in range(2)]
    poolings[1].load_state_dict(poolings[0].state_dict())
    x = torch.randn(2, 20, 16)
    lengths = torch.tensor([20, 20])
    padded = torch.cat([x, torch.full((2, 9, 16), 77.0)], dim=1)
    torch.testing.assert_close(poolings[0](x, lengths), poolings[1](padded, lengths))
    torch.testing.assert_close(
        poolings[0].norm.running_var, poolings[1].norm.running_var
    )


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_constant_channels_have_finite_gradients(constant):
    pooling = AttentiveStatisticsPooling(4)
    x = torch.full((2, 10, 4), constant, requires_grad=True)
    pooling(x, torch.tensor([10, 10])).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_weighted_mean_std_is_exact_for_a_large_offset():
    x = torch.randn(1, 1000, 1, dtype=torch.float64) + 1.0e3
    uniform = torch.full((1, 1000, 1), 1.0e-3)
    _, std = weighted_mean_std(x.float(), uniform)
    assert std.item() == pytest.approx(x.std(correction=0).item(), rel=1e-3)


@pytest.mark.parametrize(
    "width", [1, 5], ids=["a weight per frame", "a weight per channel"]
)
def test_gradients_of_the_statistics_are_right(width):
    torch.manual_seed(0)
    x = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(2, 7, width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, scores: weighted_mean_std(x, scores.softmax(dim=1)), (x, scores)
    )
