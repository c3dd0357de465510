"""Learning rate warm-up and cosine decay that keep the ratios of parameter groups."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.optim.lr_scheduler import LRScheduler

from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2_sv.errors import SVError


@dataclass(frozen=True)
class CosineSchedule:
    """Learning rate factor by step: linear warm-up, then cosine decay.

    Attributes:
        warmup_steps: Steps of the warm-up from 0 to 1.
        total_steps: Steps of warm-up and decay together; None: all steps of training.
        final: Factor at the end of the decay and afterwards.

    Raises:
        SVError: There are no steps left for the decay, or ``final`` is not between 0
            and 1.
    """

    warmup_steps: int = 0
    total_steps: int | None = None
    final: float = 0.0

    def __post_init__(self):
        """Validate the settings."""
        if self.warmup_steps < 0 or not 0 <= self.final <= 1:
            raise SVError(
                f"lr_schedule: {self}: warmup_steps must not be negative, final must be"
                " between 0 and 1"
            )
        if self.total_steps is not None and self.total_steps <= self.warmup_steps:
            raise SVError(
                f"lr_schedule: warmup_steps {self.warmup_steps} must be less than the"
                f" total of {self.total_steps} steps"
            )

    def with_default_steps(self, steps: int) -> "CosineSchedule":
        """Return this schedule with ``total_steps`` set to ``steps`` if it is None."""
        return replace(self, total_steps=steps) if self.total_steps is None else self

    def __call__(self, step: int) -> float:
        """Return the factor for a step, counted from 1."""
        if step < self.warmup_steps:
            return step / self.warmup_steps
        assert self.total_steps is not None  # see with_default_steps()
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return self.final + (1 - self.final) * cosine


class ScheduledLR(LRScheduler, AbsBatchStepScheduler):
    """Scheduler that multiplies the learning rates of all groups by the same factor.

    A checkpoint stores the number of steps but not the schedule, so that a run resumed
    with more epochs follows the schedule of its new length.

    Args:
        optimizer: Optimizer with a learning rate for each parameter group.
        schedule: Maps a step, counted from 1, to the factor.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Callable[[int], float]
    ):
        self.schedule = schedule
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the learning rates of the next step."""
        return [lr * self.schedule(self.last_epoch + 1) for lr in self.base_lrs]

    def state_dict(self) -> dict:
        """Return the number of steps taken."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue after the number of steps in ``state_dict``."""
        super().load_state_dict(state_dict)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
