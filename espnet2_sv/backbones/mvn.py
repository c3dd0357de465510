"""Mean and variance normalisation that lives in the checkpoint alone."""

import torch
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.legacy.nets.pytorch_backend.nets_utils import make_pad_mask


class StoredMVN(AbsNormalize):
    """Global mean and variance normalisation without a statistics file.

    Gives the same numbers as ESPnet's ``GlobalMVN`` and has the same buffers, ``mean``
    and ``std``, but starts as the identity and expects its numbers from a checkpoint.
    The input is never changed in place, so features may be shared.

    Args:
        dim: Feature dimension F.
        norm_means: Subtract the mean.
        norm_vars: Divide by the standard deviation.
    """

    def __init__(self, dim: int, norm_means: bool = True, norm_vars: bool = True):
        super().__init__()
        self.norm_means = norm_means
        self.norm_vars = norm_vars
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"dim={len(self.mean)}, norm_means={self.norm_means},"
            f" norm_vars={self.norm_vars}"
        )

    def forward(
        self, x: torch.Tensor, ilens: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalise features.

        Args:
            x: Features (B, T, F).
            ilens: Valid frames (B,); all when omitted.

        Returns:
            Normalised features (B, T, F), zero where padded, and the lengths (B,).
        """
        if ilens is None:
            ilens = torch.full(
                (x.size(0),), x.size(1), dtype=torch.long, device=x.device
            )
        if self.norm_means:
            x = x - self.mean.to(x.dtype)
        x = x.masked_fill(make_pad_mask(ilens, x, 1), 0.0)
        if self.norm_vars:
            x = x / self.std.to(x.dtype)
        return x, ilens
