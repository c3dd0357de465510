"""Kullback-Leibler divergence of a student's frames from its teacher's."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.checkpoint import checkpoint

from espnet2_sv.distill.alignment import resample
from espnet2_sv.errors import SVError
from espnet2_sv.heads.pooling import valid_mask

# Logits that are in memory at a time: 32 MiB in float32, a few times that with what is
# made of them, whatever the batch.
LOGITS_AT_ONCE = 2**23
_TINY = 1.0e-30  # floor of a probability before its logarithm


@dataclass(frozen=True)
class Targets:
    """What the teacher says of frames, softened by the temperature.

    Attributes:
        probs: (B, T, V), or (B, T, K + 1) of the K likeliest classes and of all others
            together.
        classes: Which classes (B, T, K) these are; None: all V.
        blank: Probability (B, T) of the blank.
        best: The likeliest class (B, T).
    """

    probs: torch.Tensor
    classes: torch.Tensor | None
    blank: torch.Tensor
    best: torch.Tensor


@dataclass
class FrameSums:
    """Sums over the valid frames of a batch.

    Attributes:
        loss: Weighted divergences times the squared temperature; carries the gradient.
        weight: Weights.
        frames: Frames.
        agreeing: Frames whose likeliest class is the same for both.
        blank: Frames whose likeliest class is the teacher's blank.
    """

    loss: torch.Tensor
    weight: torch.Tensor
    frames: torch.Tensor
    agreeing: torch.Tensor
    blank: torch.Tensor


class DistillationLoss(torch.nn.Module):
    """KL(teacher || student) of CTC posteriors, frame by frame, in float32.

    It has no parameters. Logits are made, used and dropped for a few utterances at a
    time, and made again for the gradient.

    Args:
        temperature: T; the divergence of softened posteriors is multiplied by T
            squared, so that gradients keep their size (Hinton et al. 2015, section
            2.1).
        top_k: Distinguish the teacher's K likeliest classes of a frame only and pool
            the rest into one class, for vocabularies of thousands.
        blank: The blank's class.
        blank_threshold: A frame whose blank is likelier than this, by the teacher,
            counts ``blank_weight``.
        blank_weight: 1 treats all frames alike, 0 leaves such frames out.

    Raises:
        SVError: A value is out of range.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        blank: int = 0,
        blank_threshold: float = 0.9,
        blank_weight: float = 1.0,
    ):
        super().__init__()
        if not temperature > 0:
            raise SVError(f"kd_conf: temperature {temperature} must be positive")
        if top_k is not None and top_k < 1:
            raise SVError(
                f"kd_conf: top_k {top_k} must be 1 or more, or null for all classes"
            )
        if not blank_weight >= 0 or not 0 <= blank_threshold <= 1:
            raise SVError(
                "kd_conf: blank_weight must be 0 or more, blank_threshold 0 to 1"
            )
        self.temperature = temperature
        self.top_k = top_k
        self.blank = blank
        self.blank_threshold = blank_threshold
        self.blank_weight = blank_weight

    @torch.no_grad()
    def targets(
        self, log_probs: torch.Tensor, weights: torch.Tensor | None, length: int
    ) -> Targets:
        """Make targets of the teacher's softened log posteriors.

        Args:
            log_probs: (B, T', V), log-softmax of the logits divided by the temperature.
            weights: Weights (T, T') of the alignment that bring its frames to the
                common ones.
            length: How many of these are wanted.
        """
        probs = resample(log_probs.float().exp(), weights, length)
        # a copy: a view would keep all of the probabilities
        blank, best = probs[..., self.blank].clone(), probs.argmax(dim=-1)
        if self.top_k is None or self.top_k >= probs.size(-1):
            return Targets(probs, None, blank, best)
        top, classes = probs.topk(self.top_k, dim=-1)
        rest = (1.0 - top.sum(dim=-1, keepdim=True)).clamp(min=0.0)
        return Targets(torch.cat([top, rest], dim=-1), classes, blank, best)

    def divergence(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """KL(teacher || student) of each frame, (B, T), of the student's logits (B, T, V)."""
        logits = logits.float() / self.temperature
        theirs, total = targets.probs, logits.logsumexp(dim=-1, keepdim=True)
        if targets.classes is None:
            ours = logits - total
        else:
            others = logits.scatter(-1, targets.classes, float("-inf"))
            rest = others.logsumexp(dim=-1, keepdim=True)
            ours = torch.cat([logits.gather(-1, targets.classes), rest], dim=-1) - total
        return (theirs * (theirs.clamp(min=_TINY).log() - ours)).sum(dim=-1)

    def forward(
        self,
        frames: torch.Tensor,
        output: torch.nn.Linear,
        targets: Callable[[slice], Targets],
        lengths: torch.Tensor,
    ) -> FrameSums:
        """Sum the divergence over all valid frames.

        Args:
            frames: The student's common frames (B, T, D), before its output layer.
            output: Its output layer, D to V.
            targets: Returns the targets of some utterances' T common frames.
            lengths: Valid frames (B,) that both have.
        """
        at_once = max(
            1, LOGITS_AT_ONCE // (max(1, frames.size(1)) * output.out_features)
        )
        parts = []
        for start in range(0, len(frames), at_once):
            rows = slice(start, start + at_once)
            parts.append(
                checkpoint(
                    self._sums,
                    frames[rows],
                    output,
                    targets(rows),
                    lengths[rows],
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
            )
        return FrameSums(
            *(torch.stack(column).sum() for column in zip(*parts, strict=True))
        )

    def _sums(
        self, frames, output, targets: Targets, lengths
    ) -> tuple[torch.Tensor, ...]:
        with torch.autocast(frames.device.type, enabled=False):
            logits = torch.nn.functional.linear(
                frames.float(), output.weight.float(), output.bias.float()
            )
            valid = valid_mask(lengths, logits.size(1)).float()
            blank = (targets.blank > self.blank_threshold).float()
            weight = valid * (1.0 + (self.blank_weight - 1.0) * blank)
            divergence = self.divergence(logits, targets) * self.temperature**2
            agrees = (logits.argmax(dim=-1) == targets.best).float()
            return (
                (weight * divergence).sum(),
                weight.sum(),
                valid.sum(),
                (valid * agrees).sum(),
                (valid * (targets.best == self.blank)).sum(),
            )
