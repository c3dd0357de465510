import pytest
import torch

from espnet2_sv.distill.asr_branch import AsrBranch


@pytest.mark.parametrize(("num_blocks", "dim"), [(0, None), (0, 8), (2, None), (1, 8)])
def test_every_parameter_gets_a_gradient_for_any_blocks_and_dimension(num_blocks, dim):
    torch.manual_seed(0)
    branch = AsrBranch(16, 30, num_blocks=num_blocks, dim=dim, heads=2, kernel=3)
    frames, lengths = torch.randn(3, 9, 16), torch.tensor([9, 4, 7])
    logits = branch.output(branch(frames, lengths))
    assert logits.shape == (3, 9, 30)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in branch.parameters())


@torch.no_grad()
def test_without_blocks_it_is_a_norm_and_a_linear_layer():
    branch = AsrBranch(16, 30, num_blocks=0)
    assert sum(p.numel() for p in branch.parameters()) == 2 * 16 + 16 * 30 + 30
    frames = torch.randn(1, 5, 16)
    normed = (frames - frames.mean(-1, keepdim=True)) / frames.std(
        -1, correction=0, keepdim=True
    )
    torch.testing.assert_close(branch(frames, torch.tensor([5])), normed)


def test_a_dimension_not_divisible_by_the_heads_is_rejected():
    with pytest.raises(ValueError, match="16 is not divisible by 3 heads"):
        AsrBranch(16, 30, heads=3)
