"""The heads of ESPnet's speaker models: a pooling and a projector."""

from collections.abc import Sequence

import torch

from espnet2.spk.pooling.chn_attn_stat_pooling import ChnAttnStatPooling
from espnet2.spk.pooling.mean_pooling import MeanPooling
from espnet2.spk.pooling.stat_pooling import StatsPooling
from espnet2.spk.projector.rawnet3_projector import RawNet3Projector
from espnet2.spk.projector.ska_tdnn_projector import SkaTdnnProjector
from espnet2.spk.projector.xvector_projector import XvectorProjector
from espnet2_sv.heads.pooling import may_be_padded

POOLINGS = {
    "chn_attn_stat": ChnAttnStatPooling,
    "mean": MeanPooling,
    "stats": StatsPooling,
}
PROJECTORS = {
    "rawnet3": RawNet3Projector,
    "ska_tdnn": SkaTdnnProjector,
    "xvector": XvectorProjector,
}


class PooledHead(torch.nn.Module):
    """Pool the last block's output over time and project it to an embedding.

    Args:
        num_blocks: L, blocks of the backbone.
        block_dim: D, dimension of a block output.
        embed_dim: E, dimension of the embedding.
        pooling: One of :data:`POOLINGS`.
        projector: One of :data:`PROJECTORS`; ``rawnet3`` is BatchNorm and Linear.

    Raises:
        ValueError: The pooling or the projector is unknown.
    """

    def __init__(
        self,
        num_blocks: int,
        block_dim: int,
        embed_dim: int = 192,
        pooling: str = "chn_attn_stat",
        projector: str = "rawnet3",
    ):
        super().__init__()
        if pooling not in POOLINGS or projector not in PROJECTORS:
            raise ValueError(
                f"unknown pooling {pooling!r} or projector {projector!r}; choose from"
                f" {', '.join(POOLINGS)} and {', '.join(PROJECTORS)}"
            )
        self.num_blocks = num_blocks
        self.embed_dim = embed_dim
        self.pooling = POOLINGS[pooling](input_size=block_dim)
        self.projector = PROJECTORS[projector](self.pooling.output_size(), embed_dim)

    def forward(
        self, blocks: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> torch.Tensor:
        """Compute embeddings.

        Args:
            blocks: L block outputs, each (B, T, D).
            lengths: Valid frames (B,) of the block outputs.

        Returns:
            Embeddings (B, E), not length-normalised.
        """
        # Without padding, pool without lengths to be bit-identical to ESPnet.
        masked = may_be_padded(blocks[-1], lengths)
        frames = blocks[-1].transpose(1, 2)
        pooled = self.pooling(frames, feat_lengths=lengths if masked else None)
        return self.projector(pooled)
