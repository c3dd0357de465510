"""The speaker adaptor: a small network that reads a frozen ASR encoder's blocks."""

from collections.abc import Sequence

import torch

from espnet2_sv.heads.light_conformer import LightConformer
from espnet2_sv.heads.mfa import EmbeddingProjection


class LayerAdaptor(torch.nn.Sequential):
    """Linear -> ReLU -> Linear on the frames of one block.

    Args:
        block_dim: D, dimension of the block's output.
        adaptor_dim: H, dimension of the result.
        layer_norm: Normalise the block's output first (the published sizes are
            without).
    """

    def __init__(self, block_dim: int, adaptor_dim: int, layer_norm: bool = False):
        super().__init__(
            *([torch.nn.LayerNorm(block_dim)] if layer_norm else []),
            torch.nn.Linear(block_dim, adaptor_dim),
            torch.nn.ReLU(),
            torch.nn.Linear(adaptor_dim, adaptor_dim),
        )


class SpeakerAdaptor(torch.nn.Module):
    """Turn an ASR encoder's block outputs into a speaker embedding (Cai & Li 2024).

    A layer adaptor reads each block; K lightweight Conformer blocks follow the last one
    in series; all L + K streams are concatenated, normalised, pooled and projected.
    With 18 blocks of 512 this has 4,921,728 parameters.

    Args:
        num_blocks: Blocks of the encoder.
        block_dim: D, dimension of a block's output.
        adaptor_dim: H, dimension of every stream.
        num_light_blocks: K.
        embed_dim: E, dimension of the embedding.
        attention_channels: Channels of the pooling's attention.
        heads: Attention heads of the lightweight blocks.
        linear_units: Hidden units of their feed-forward layers.
        kernel: Frames seen by their depthwise convolution.
        dropout_rate: Dropout of what each part of a lightweight block adds.
        layer_norm: Normalise each block's output before its layer adaptor.
        read_blocks: Which blocks are read, counted from 1; all if not given.

    Raises:
        ValueError: ``read_blocks`` is empty, repeats itself or names a block that is
            not there.
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
            # drawing these takes a tenth of a block's time on a CPU
            hidden_dropout_rate=0.0,
        )
        streams = len(self.read_blocks) + num_light_blocks
        self.projection = EmbeddingProjection(
            streams * adaptor_dim, embed_dim, attention_channels
        )

    def forward(
        self, blocks: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> torch.Tensor:
        """Embed an utterance.

        Args:
            blocks: All block outputs of the encoder, each (B, T, D).
            lengths: Valid frames (B,) of the block outputs.

        Returns:
            Embeddings (B, E), not length-normalised.
        """
        return self.projection(self.streams(blocks, lengths), lengths)

    def streams(
        self, blocks: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return what is concatenated and pooled: a stream for each block read, then K more.

        Args:
            blocks: As of :meth:`forward`.
            lengths: As of :meth:`forward`.

        Returns:
            Streams, each (B, T, H).
        """
        if len(blocks) != self.num_blocks:
            raise ValueError(
                f"expected {self.num_blocks} block outputs, got {len(blocks)}"
            )
        streams = [
            adaptor(blocks[i - 1])
            for i, adaptor in zip(self.read_blocks, self.layer_adaptors, strict=True)
        ]
        return [*streams, *self.light(streams[-1], lengths)]
