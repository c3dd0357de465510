"""The speaker adaptor: a small network on the block outputs of a frozen ASR encoder."""

from collections.abc import Sequence

import torch

from espnet2_sv.heads.light_conformer import LightConformer
from espnet2_sv.heads.mfa import EmbeddingProjection


class LayerAdaptor(torch.nn.Sequential):
    """Linear -> ReLU -> Linear on the output of one block.

    Args:
        block_dim: D, dimension of the block output.
        adaptor_dim: H, output dimension.
        layer_norm: Apply LayerNorm first; the published adaptor has none.
    """

    def __init__(self, block_dim: int, adaptor_dim: int, layer_norm: bool = False):
        super().__init__(
            *([torch.nn.LayerNorm(block_dim)] if layer_norm else []),
            torch.nn.Linear(block_dim, adaptor_dim),
            torch.nn.ReLU(),
            torch.nn.Linear(adaptor_dim, adaptor_dim),
        )


class SpeakerAdaptor(torch.nn.Module):
    """Speaker embedding from the block outputs of an ASR encoder (Cai & Li 2024).

    Each block output goes through a layer adaptor; the last layer adaptor is followed
    by K lightweight Conformer blocks in series. All L + K outputs are concatenated,
    normalised, pooled and projected. For 18 blocks of dimension 512 this has 4,921,728
    parameters.

    Args:
        num_blocks: L, blocks of the encoder.
        block_dim: D, dimension of a block output.
        adaptor_dim: H, dimension of the layer adaptors and lightweight blocks.
        num_light_blocks: K, lightweight Conformer blocks.
        embed_dim: E, dimension of the embedding.
        attention_channels: Hidden channels of the pooling's attention.
        heads: Attention heads of the lightweight blocks.
        linear_units: Hidden units of their feed-forward layers.
        kernel: Kernel size of their depthwise convolution, in frames.
        dropout_rate: Dropout on the residual branches of the lightweight blocks.
        layer_norm: Apply LayerNorm before each layer adaptor.
        read_blocks: Blocks to use, counted from 1; all by default.

    Raises:
        ValueError: ``read_blocks`` is empty, has duplicates or a number beyond L.
    """

    def __init__(
        self,
        num_blocks: int,
        block_dim: int,
        adaptor_dim: int = 128,
        num_light_blocks: int = 2,
        embed_dim: int = 256,
        attention_channels: int = 128,
        heads: int = 4,
        linear_units: int = 512,
        kernel: int = 31,
        dropout_rate: float = 0.1,
        layer_norm: bool = False,
        read_blocks: Sequence[int] | None = None,
    ):
        super().__init__()
        self.num_blocks = num_blocks
        self.embed_dim = embed_dim
        self.read_blocks = list(
            range(1, num_blocks + 1) if read_blocks is None else read_blocks
        )
        allowed = set(range(1, num_blocks + 1))
        if not self.read_blocks or len(set(self.read_blocks) & allowed) < len(
            self.read_blocks
        ):
            raise ValueError(
                f"read_blocks {read_blocks}: choose different blocks 1 to {num_blocks}"
            )
        self.layer_adaptors = torch.nn.ModuleList(
            LayerAdaptor(block_dim, adaptor_dim, layer_norm) for _ in self.read_blocks
        )
        self.light = LightConformer(
            num_light_blocks,
            adaptor_dim,
            heads,
            linear_units,
            kernel,
            dropout_rate,
            # Sampling this mask would take 10 % of a block's time on a CPU.
            hidden_dropout_rate=0.0,
        )
        num_outputs = len(self.read_blocks) + num_light_blocks
        self.projection = EmbeddingProjection(
            num_outputs * adaptor_dim, embed_dim, attention_channels
        )

    def forward(
        self, blocks: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> torch.Tensor:
        """Compute embeddings.

        Args:
            blocks: Outputs of the encoder's blocks, each (B, T, D): of all L, or of
                those up to the last that is read.
            lengths: Valid frames (B,) of the block outputs.

        Returns:
            Embeddings (B, E), not length-normalised.

        Raises:
            ValueError: There are fewer or more block outputs than that.
        """
        return self.projection(self.streams(blocks, lengths), lengths)

    def streams(
        self, blocks: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return the outputs of the layer adaptors and of the lightweight blocks.

        Args:
            blocks: See :meth:`forward`.
            lengths: See :meth:`forward`.

        Returns:
            One (B, T, H) for each block used, then K of the lightweight blocks.
        """
        if not max(self.read_blocks) <= len(blocks) <= self.num_blocks:
            raise ValueError(
                f"expected {self.num_blocks} block outputs, got {len(blocks)}"
            )
        adapted = [
            adaptor(blocks[i - 1])
            for i, adaptor in zip(self.read_blocks, self.layer_adaptors, strict=True)
        ]
        return [*adapted, *self.light(adapted[-1], lengths)]
