"""Lightweight Conformer blocks of the speaker adaptor and the ASR branch."""

import torch

from espnet2.legacy.nets.pytorch_backend.conformer.convolution import ConvolutionModule
from espnet2.legacy.nets.pytorch_backend.conformer.encoder_layer import EncoderLayer
from espnet2.legacy.nets.pytorch_backend.transformer.attention import (
    RelPositionMultiHeadedAttention,
)
from espnet2.legacy.nets.pytorch_backend.transformer.embedding import (
    RelPositionalEncoding,
)
from espnet2.legacy.nets.pytorch_backend.transformer.positionwise_feed_forward import (
    PositionwiseFeedForward,
)
from espnet2_sv.heads.pooling import valid_mask


def conformer_block(
    dim: int,
    heads: int,
    linear_units: int,
    kernel: int,
    dropout_rate: float,
    hidden_dropout_rate: float,
) -> EncoderLayer:
    """Build a macaron Conformer block with relative positions (Gulati et al. 2020).

    It has 401,280 parameters at dimension 128. As in ESPnet's default encoders, there
    is no dropout on attention weights.
    """

    def feed_forward():
        return PositionwiseFeedForward(
            dim, linear_units, hidden_dropout_rate, torch.nn.SiLU()
        )

    return EncoderLayer(
        dim,
        RelPositionMultiHeadedAttention(heads, dim, dropout_rate=0.0),
        feed_forward(),
        feed_forward(),
        ConvolutionModule(dim, kernel, torch.nn.SiLU()),
        dropout_rate,
    )


class LightConformer(torch.nn.Module):
    """K Conformer blocks in series; returns the output of every block.

    Args:
        num_blocks: K, 0 allowed.
        dim: D, dimension of the frames.
        heads: Attention heads.
        linear_units: Hidden units of the feed-forward layers.
        kernel: Kernel size of the depthwise convolution, in frames.
        dropout_rate: Dropout on the residual branches.
        hidden_dropout_rate: Dropout on the hidden units of the feed-forward layers;
            ``dropout_rate`` by default.
    """

    def __init__(
        self,
        num_blocks: int = 2,
        dim: int = 128,
        heads: int = 4,
        linear_units: int = 512,
        kernel: int = 31,
        dropout_rate: float = 0.1,
        hidden_dropout_rate: float | None = None,
    ):
        super().__init__()
        hidden = dropout_rate if hidden_dropout_rate is None else hidden_dropout_rate
        self.positions = RelPositionalEncoding(dim, dropout_rate)
        self.blocks = torch.nn.ModuleList(
            conformer_block(dim, heads, linear_units, kernel, dropout_rate, hidden)
            for _ in range(num_blocks)
        )

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """Run the blocks.

        Args:
            x: Frames (B, T, D).
            lengths: Valid frames (B,).

        Returns:
            K block outputs, each (B, T, D).
        """
        if not self.blocks:
            return []
        mask = valid_mask(lengths, x.size(1), x.device)[:, None]
        hidden, outputs = self.positions(x), []
        for block in self.blocks:
            hidden, mask = block(hidden, mask)
            outputs.append(hidden[0])
        return outputs
