"""The distillation loss (frame-level KL divergence) and the schedule of its weight."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.checkpoint import checkpoint

from espnet2_sv.distill.alignment import resample
from espnet2_sv.errors import SVError
from espnet2_sv.heads.pooling import valid_mask

# Logits per chunk of the batch: 32 MiB in float32, a few times that with intermediate
# results, whatever the batch size
CHUNK_LOGITS = 2**23
# On a GPU, which small chunks leave waiting for kernels: 256 MiB, 1.5 GiB with
# intermediate results
GPU_CHUNK_LOGITS = 2**26
_MIN_PROBABILITY = 1.0e-30  # keeps logarithms finite


@dataclass(frozen=True)
class Targets:
    """The teacher's posteriors, softened by the temperature.

    Attributes:
        probs: Probabilities (B, T, V) of all classes, or (B, T, K + 1) of the top K
            classes followed by the total of all others.
        classes: The top K classes (B, T, K); None if ``probs`` has all V.
        blank: Probability (B, T) of the blank.
        best: The most likely class (B, T).
    """

    probs: torch.Tensor
    classes: torch.Tensor | None
    blank: torch.Tensor
    best: torch.Tensor


@dataclass
class FrameSums:
    """Sums over the valid frames of a batch, all of shape ().

    Attributes:
        loss: Weighted KL divergences times the squared temperature, with gradient.
        weight: Sum of the frame weights.
        frames: Number of frames.
        agreeing: Frames on which student and teacher have the same most likely class.
        blank: Frames on which the teacher's most likely class is the blank.
    """

    loss: torch.Tensor
    weight: torch.Tensor
    frames: torch.Tensor
    agreeing: torch.Tensor
    blank: torch.Tensor


class DistillationLoss(torch.nn.Module):
    """Frame-level KL(teacher || student) of CTC posteriors (Cai & Li 2024).

    It has no parameters. To bound memory, logits are computed for a chunk of the batch
    at a time and recomputed in the backward pass.

    Args:
        temperature: T, which divides the logits. The KL divergence is multiplied by T
            squared to keep the scale of its gradients (Hinton et al. 2015, section 2).
        top_k: K; distinguish only the teacher's top K classes of a frame and merge all
            others into one class. None: use all classes.
        blank: Index of the blank.
        blank_threshold: Frames to which the teacher gives a blank probability above
            this threshold have the weight ``blank_weight``.
        blank_weight: 1 weights all frames equally, 0 ignores blank frames.
        float32_logits: Compute the logits of student and teacher in float32. Otherwise
            in the precision of the training, e.g. bfloat16, which tensor cores are
            faster at. All that follows is in float32.

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
        float32_logits: bool = True,
    ):
        super().__init__()
        if not temperature > 0:
            raise SVError(f"kd_conf: temperature {temperature} must be positive")
        if top_k is not None and top_k < 1:
            raise SVError(
                f"kd_conf: top_k {top_k} must be at least 1, or null for all classes"
            )
        if not blank_weight >= 0 or not 0 <= blank_threshold <= 1:
            raise SVError(
                "kd_conf: blank_weight must be at least 0, and blank_threshold between"
                " 0 and 1"
            )
        self.temperature = temperature
        self.top_k = top_k
        self.blank = blank
        self.blank_threshold = blank_threshold
        self.blank_weight = blank_weight
        self.float32_logits = float32_logits

    @torch.no_grad()
    def targets(
        self, log_probs: torch.Tensor, weights: torch.Tensor | None, length: int
    ) -> Targets:
        """Compute targets from the teacher's softened log posteriors.

        Args:
            log_probs: Log-softmax (B, T', V) of the logits divided by the temperature.
            weights: Alignment weights (T, T') of the teacher's frames, or None.
            length: Number of aligned frames to return.
        """
        probs = resample(log_probs.float().exp(), weights, length)
        # Cloned, because a view would keep all probabilities in memory
        blank, best = probs[..., self.blank].clone(), probs.argmax(dim=-1)
        if self.top_k is None or self.top_k >= probs.size(-1):
            return Targets(probs, None, blank, best)
        top, classes = probs.topk(self.top_k, dim=-1)
        rest = (1.0 - top.sum(dim=-1, keepdim=True)).clamp(min=0.0)
        return Targets(torch.cat([top, rest], dim=-1), classes, blank, best)

    def divergence(self, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Return KL(teacher || student) (B, T) for the student's logits (B, T, V)."""
        logits = logits.float() / self.temperature
        total = logits.logsumexp(dim=-1, keepdim=True)
        if targets.classes is None:
            student = logits - total
        else:
            others = logits.scatter(-1, targets.classes, float("-inf"))
            rest = others.logsumexp(dim=-1, keepdim=True)
            top = logits.gather(-1, targets.classes)
            student = torch.cat([top, rest], dim=-1) - total
        teacher = targets.probs.clamp(min=_MIN_PROBABILITY).log()
        return (targets.probs * (teacher - student)).sum(dim=-1)

    def forward(
        self,
        frames: torch.Tensor,
        output: torch.nn.Linear,
        targets: Callable[[slice], Targets],
        lengths: torch.Tensor,
    ) -> FrameSums:
        """Sum the KL divergence over all valid frames.

        Args:
            frames: The student's aligned frames (B, T, D), before its output layer.
            output: The student's output layer, D to V.
            targets: Function that returns the targets of a slice of the batch.
            lengths: Valid aligned frames (B,).
        """
        logits_per_utterance = max(1, frames.size(1)) * output.out_features
        on_cpu = frames.device.type == "cpu"
        logits = CHUNK_LOGITS if on_cpu else GPU_CHUNK_LOGITS
        chunk = max(1, logits // logits_per_utterance)
        sums = []
        for start in range(0, len(frames), chunk):
            rows = slice(start, start + chunk)
            sums.append(
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
            *(torch.stack(column).sum() for column in zip(*sums, strict=True))
        )

    def _sums(
        self, frames, output, targets: Targets, lengths
    ) -> tuple[torch.Tensor, ...]:
        logits = output_logits(frames, output, self.float32_logits)
        with torch.autocast(frames.device.type, enabled=False):
            valid = valid_mask(lengths, logits.size(1), logits.device).float()
            blank = (targets.blank > self.blank_threshold).float()
            weight = valid * (1.0 + (self.blank_weight - 1.0) * blank)
            divergence = self.divergence(logits, targets) * self.temperature**2
            agreeing = (logits.argmax(dim=-1) == targets.best).float()
            return (
                (weight * divergence).sum(),
                weight.sum(),
                valid.sum(),
                (valid * agreeing).sum(),
                (valid * (targets.best == self.blank)).sum(),
            )


def output_logits(
    frames: torch.Tensor, output: torch.nn.Linear, in_float32: bool
) -> torch.Tensor:
    """Apply an output layer and return logits (B, T, V) in float32.

    Args:
        frames: Frames (B, T, D).
        output: Output layer, D to V.
        in_float32: Also multiply in float32, not in the precision of autocast.
    """
    if not in_float32:
        return output(frames).float()
    with torch.autocast(frames.device.type, enabled=False):
        return torch.nn.functional.linear(
            frames.float(), output.weight.float(), output.bias.float()
        )


@dataclass(frozen=True)
class KDSchedule:
    """Weight lambda of the distillation loss, by epoch.

    Linear warm-up, then constant, then an optional linear decay. In epochs with weight
    0, neither the teacher nor the ASR branch runs.

    Attributes:
        value: Lambda after the warm-up.
        warmup_epochs: Epochs of the warm-up; 0 for none.
        decay_from: Last epoch, counted from 1, before the decay; None for no decay.
        decay_epochs: Epochs of the decay.
        final: Lambda after the decay.

    Raises:
        SVError: A value is negative, or ``decay_epochs`` is 0.
    """

    value: float = 1.0
    warmup_epochs: int = 0
    decay_from: int | None = None
    decay_epochs: int = 1
    final: float = 0.0

    def __post_init__(self):
        """Validate the settings."""
        if min(self.value, self.final, self.warmup_epochs) < 0 or self.decay_epochs < 1:
            raise SVError(
                f"kd_schedule: {self}: value, warmup_epochs and final must not be"
                " negative, decay_epochs must be at least 1"
            )

    def __call__(self, epoch: int) -> float:
        """Return lambda for an epoch, counted from 1."""
        if epoch < self.warmup_epochs:
            return self.value * epoch / self.warmup_epochs
        if self.decay_from is None or epoch <= self.decay_from:
            return self.value
        progress = min(1.0, (epoch - self.decay_from) / self.decay_epochs)
        return self.value + progress * (self.final - self.value)
