"""The ASR branch of a student, which predicts the teacher's CTC posteriors."""

import torch

from espnet2_sv.heads.light_conformer import LightConformer
from espnet2_sv.heads.mfa import LAYER_NORM_EPS


class AsrBranch(torch.nn.Module):
    """ASR branch of a student: frames to CTC logits (Cai & Li 2024).

    Linear projection, if the branch's dimension differs from D -> N Conformer blocks ->
    LayerNorm -> Linear. The last two correspond to the final LayerNorm of an ESPnet
    encoder and its CTC layer.

    Args:
        input_dim: D, dimension of the student's frames.
        vocab: V, vocabulary size of the teacher.
        num_blocks: N, 0 allowed.
        dim: H, dimension of the blocks; D by default.
        heads: Attention heads of the blocks.
        linear_units: Hidden units of their feed-forward layers; 4 H by default.
        kernel: Kernel size of their depthwise convolution, in frames.
        dropout_rate: Their dropout rate.

    Raises:
        ValueError: H is not divisible by ``heads``.
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
                f"the branch's dimension {dim} is not divisible by {heads} heads"
            )
        same = dim == input_dim
        self.project = torch.nn.Identity() if same else torch.nn.Linear(input_dim, dim)
        self.blocks = LightConformer(
            num_blocks, dim, heads, linear_units or 4 * dim, kernel, dropout_rate
        )
        self.norm = torch.nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.output = torch.nn.Linear(dim, vocab)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Compute the input of :attr:`output`, the last layer.

        The loss applies the last layer itself, chunk by chunk, to save memory.

        Args:
            frames: The student's frames (B, T, D).
            lengths: Valid frames (B,).

        Returns:
            Hidden frames (B, T, H).
        """
        hidden = self.project(frames)
        return self.norm([hidden, *self.blocks(hidden, lengths)][-1])
