"""The multi-scale feature aggregation (MFA) head of MFA-Conformer."""

from collections.abc import Sequence

import torch

from espnet2_sv.heads.pooling import AttentiveStatisticsPooling

# As in ESPnet's LayerNorm, so that the head is equivalent to its MfaConformerEncoder
LAYER_NORM_EPS = 1.0e-12


class EmbeddingProjection(torch.nn.Module):
    """Concatenate -> LayerNorm -> attentive statistics pooling -> BatchNorm -> Linear.

    Args:
        channels: C, total channels of the inputs.
        embed_dim: E, dimension of the embedding.
        attention_channels: Hidden channels of the pooling's attention.
    """

    def __init__(
        self, channels: int, embed_dim: int = 256, attention_channels: int = 128
    ):
        super().__init__()
        self.layer_norm = torch.nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.pooling = AttentiveStatisticsPooling(channels, attention_channels)
        self.batch_norm = torch.nn.BatchNorm1d(2 * channels)
        self.linear = torch.nn.Linear(2 * channels, embed_dim)

    def forward(
        self, streams: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> torch.Tensor:
        """Compute embeddings.

        Args:
            streams: Frame-level inputs, each (B, T, C_i), with C = sum of all C_i.
            lengths: Valid frames (B,).

        Returns:
            Embeddings (B, E).
        """
        frames = self.layer_norm(torch.cat(list(streams), dim=-1))
        return self.linear(self.batch_norm(self.pooling(frames, lengths)))


class MFAHead(torch.nn.Module):
    """Multi-scale feature aggregation: an embedding from the outputs of all blocks.

    Zhang et al., "MFA-Conformer" (Interspeech 2022), with the dimensions of Cai & Li
    (2024): 9,502,336 parameters for 18 blocks of dimension 512.

    Args:
        num_blocks: L, blocks of the backbone.
        block_dim: D, dimension of a block output.
        embed_dim: E, dimension of the embedding.
        attention_channels: Hidden channels of the pooling's attention.
    """

    def __init__(
        self,
        num_blocks: int,
        block_dim: int,
        embed_dim: int = 256,
        attention_channels: int = 128,
    ):
        super().__init__()
        self.num_blocks = num_blocks
        self.embed_dim = embed_dim
        self.projection = EmbeddingProjection(
            num_blocks * block_dim, embed_dim, attention_channels
        )

    def forward(
        self, blocks: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> torch.Tensor:
        """Compute embeddings.

        Args:
            blocks: L block outputs, each (B, T, D).
            lengths: Valid frames (B,) of the block outputs, not of the features before
                subsampling.

        Returns:
            Embeddings (B, E), not length-normalised.

        Raises:
            ValueError: The number of block outputs is not L.
        """
        if len(blocks) != self.num_blocks:
            raise ValueError(
                f"expected {self.num_blocks} block outputs, got {len(blocks)}"
            )
        return self.projection(blocks, lengths)
