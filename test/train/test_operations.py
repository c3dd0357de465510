"""Floating-point operations of a step: two gradients cost twice the forward pass."""

import pytest
import torch

from espnet2_sv.train.operations import flop_counter


@pytest.mark.parametrize(
    ("layer", "shape", "forward"),
    [
        (torch.nn.Linear(64, 32), (5, 64), 2 * 5 * 64 * 32),
        (torch.nn.Conv1d(16, 16, 7, groups=16), (2, 16, 50), 2 * 2 * 44 * 16 * 7),
        (torch.nn.Conv2d(4, 6, 3, stride=2), (2, 4, 9, 9), 2 * 2 * 16 * 4 * 6 * 9),
    ],
    ids=["linear", "depthwise", "two-dimensional"],
)
def test_gradients_of_a_layer_cost_twice_its_forward_pass(layer, shape, forward):
    inputs = torch.randn(shape, requires_grad=True)
    with flop_counter() as counter:
        outputs = layer(inputs)
    assert counter.get_total_flops() == forward
    with flop_counter() as counter:
        outputs.sum().backward()
    assert counter.get_total_flops() == 2 * forward
