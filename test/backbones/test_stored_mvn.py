import numpy as np
import pytest
import torch

from espnet2.layers.global_mvn import GlobalMVN
from espnet2_sv.backbones.features import StoredMVN


@pytest.mark.parametrize("norm_means", [True, False])
@pytest.mark.parametrize("norm_vars", [True, False])
def test_equals_global_mvn(norm_means, norm_vars, tmp_path):
    np.savez(
        tmp_path / "stats.npz",
        count=5,
        sum=np.arange(4.0),
        sum_square=20 + np.arange(4.0) ** 2,
    )
    stock = GlobalMVN(
        tmp_path / "stats.npz", norm_means=norm_means, norm_vars=norm_vars
    )
    ours = StoredMVN(4, norm_means=norm_means, norm_vars=norm_vars)
    ours.load_state_dict(stock.state_dict())
    x, lengths = torch.randn(3, 7, 4), torch.tensor([7, 2, 5])
    before = x.clone()
    output, output_lengths = ours(x, lengths)
    assert torch.equal(x, before)
    expected, _ = stock(x.clone(), lengths)
    assert torch.equal(output, expected)
    assert torch.equal(output_lengths, lengths)


def test_is_the_identity_until_it_is_loaded():
    x = torch.randn(2, 3, 4)
    output, lengths = StoredMVN(4)(x)
    assert torch.equal(output, x)
    assert lengths.tolist() == [3, 3]


def test_gradients_flow_through():
    x = torch.randn(1, 3, 4, requires_grad=True)
    output, _ = StoredMVN(4)(x)
    output.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
