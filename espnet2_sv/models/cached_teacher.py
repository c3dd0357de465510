"""A teacher that has said everything before."""

import torch

from espnet2_sv.data.posteriors import PosteriorInfo
from espnet2_sv.nets.kd_loss import Targets


class CachedTeacher(torch.nn.Module):
    """Stands for an ASR teacher whose posteriors come with the batches, from disk.

    Args:
        info: Whose posteriors these are.
    """

    def __init__(self, info: PosteriorInfo):
        super().__init__()
        self.vocab = info.vocab
        self.blank = info.blank
        self.sample_rate = info.sample_rate
        self.frame_rate_hz = info.sample_rate / info.shift

    def targets(self, probs: torch.Tensor, classes: torch.Tensor) -> Targets:
        """Targets of probabilities (B, T, K + 1) and classes (B, T, K), likeliest first.

        A blank that is not among the likeliest classes counts as impossible.
        """
        is_blank = classes == self.blank
        blank = (probs[..., :-1] * is_blank).sum(dim=-1)
        return Targets(probs, classes, blank, classes[..., 0])
