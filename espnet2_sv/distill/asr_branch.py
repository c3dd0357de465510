"""The branch of a speaker network that learns to recognise speech."""

import torch

from espnet2_sv.heads.light_conformer import LightConformer
from espnet2_sv.heads.mfa import LAYER_NORM_EPS


class AsrBranch(torch.nn.Module):
    """From a student's frames to the logits of the teacher's classes (Cai & Li 2024).

    Projection to the branch's dimension where that is another one -> N Conformer blocks
    -> LayerNorm -> Linear. The last two are what ESPnet's encoders end with and their
    CTC layer.

    Args:
        input_dim: D, dimension of the student's frames.
        vocab: V, classes of the teacher.
        num_blocks: N, 0 allowed.
        dim: Dimension of the blocks; that of the frames if not given.
        heads: Attention heads of the blocks.
        linear_units: Hidden units of their feed-forward layers; four times the
            dimension if not given.
        kernel: Frames seen by their depthwise convolution.
        dropout_rate: Dropout in them.

    Raises:
        ValueError: A dimension that the heads cannot share.
    """

    def __init__(
        self,
        input_dim: int,
        vocab: int,
        num_blocks: int = 1,
        dim: int | None = None,
        heads: int = 4,
        linear_units: int | None = None,
        kernel: int = 31,
        dropout_rate: float = 0.1,
    ):
        super().__init__()
        dim = dim or input_dim
        if num_blocks and dim % heads:
            raise ValueError(
                f"the branch's dimension {dim} cannot be shared by {heads} heads"
            )
        same = dim == input_dim
        self.project = torch.nn.Identity() if same else torch.nn.Linear(input_dim, dim)
        self.blocks = LightConformer(
            num_blocks, dim, heads, linear_units or 4 * dim, kernel, dropout_rate
        )
        self.norm = torch.nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.output = torch.nn.Linear(dim, vocab)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return what :attr:`output` reads, (B, T, dim), of frames (B, T, D), lengths (B,).

        The logits are left to the loss, which never needs those of all frames at once.
        """
        hidden = self.project(frames)
        return self.norm([hidden, *self.blocks(hidden, lengths)][-1])
