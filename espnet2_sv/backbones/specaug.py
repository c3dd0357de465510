"""SpecAugment that does not make the CPU wait for the GPU."""

import torch

from espnet2.asr.specaug.specaug import SpecAug as EspnetSpecAug


class SpecAug(EspnetSpecAug):
    """ESPnet's SpecAugment (Park et al. 2019), with the same options.

    On a GPU, the places of the masks are drawn on the CPU: ESPnet reads the widest mask
    back from the GPU, twice for each kind of mask. On a CPU, nothing is different.
    """

    def forward(
        self, x: torch.Tensor, x_lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Warp and mask features.

        Args:
            x: Features (B, T, F).
            x_lengths: Valid frames (B,).

        Returns:
            Features (B, T, F) and their valid frames (B,).
        """
        layers = [
            layer for layer in (self.freq_mask, self.time_mask) if layer is not None
        ]
        zeros = all(layer.replace_with_zero for layer in layers)
        if x.device.type == "cpu" or not zeros:
            return super().forward(x, x_lengths)
        if self.time_warp is not None:
            x, x_lengths = self.time_warp(x, x_lengths)
        for mask in self.draw(*x.shape):
            if torch.cuda.is_available():
                mask = mask.pin_memory()  # only such a copy is asynchronous
            x = x.masked_fill(mask.to(x.device, non_blocking=True), 0.0)
        return x, x_lengths

    def draw(self, batch: int, frames: int, channels: int) -> list[torch.Tensor]:
        """Draw the masks of a batch on the CPU, as ESPnet does for features there.

        Args:
            batch: B.
            frames: T.
            channels: F.

        Returns:
            Masks that are True where features become zero, (B, 1, F) and (B, T, 1), if
            there are both kinds.
        """
        sizes = (self.freq_mask, (1, channels)), (self.time_mask, (frames, 1))
        # ones stand in for features, which are masked alike along the other axis
        return [
            layer(torch.ones(batch, *size), None)[0] == 0
            for layer, size in sizes
            if layer is not None
        ]
