"""Warm-up and cosine decay that leave every group of parameters its own learning rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from torch.optim.lr_scheduler import LRScheduler

from espnet2_sv.errors import SVError


@dataclass(frozen=True)
class CosineSchedule:
    """The factor on the learning rate, step by step.

    It rises linearly from 0 to 1 over the first steps, then falls along half a cosine.

    Attributes:
        warmup_steps: Steps over which it rises.
        total_steps: Steps until it has fallen, warm-up included; None: those of the
            training.
        final: What it falls to, and stays at.

    Raises:
        SVError: There are no steps to fall over, or ``final`` is not between 0 and 1.
    """

    warmup_steps: int = 0
    total_steps: int | None = None
    final: float = 0.0

    def __post_init__(self):
        """Check the values."""
        if self.warmup_steps < 0 or not 0 <= self.final <= 1:
            raise SVError(
                f"lr_schedule: {self}: warmup_steps from 0 on, final from 0 to 1"
            )
        if self.total_steps is not None and self.total_steps <= self.warmup_steps:
            raise SVError(
                f"lr_schedule: warmup_steps {self.warmup_steps} leave nothing of the "
                f"{self.total_steps} steps of training"
            )

    def over(self, steps: int) -> "CosineSchedule":
        """Return the schedule of a training of so many steps, unless it has its own number."""
        return (
            self if self.total_steps is not None else replace(self, total_steps=steps)
        )

    def __call__(self, step: int) -> float:
        """Return the factor of a step, counted from 1."""
        if step < self.warmup_steps:
            return step / self.warmup_steps
        assert self.total_steps is not None  # see over()
        gone = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * min(gone, 1.0))) / 2
        return self.final + (1 - self.final) * cosine


class ScheduledLR(LRScheduler, AbsBatchStepScheduler):
    """Scales the learning rate of every group of parameters by the same factor, step by step.

    A checkpoint keeps the number of steps taken and nothing of the schedule: a training
        that is
    prolonged goes on along the schedule of its new length.

    Args:
        optimizer: Its groups' learning rates are what is scaled.
        schedule: Factor of a step, counted from 1.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Callable[[int], float]
    ):
        self.schedule = schedule
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the learning rates of the step to come."""
        return [lr * self.schedule(self.last_epoch + 1) for lr in self.base_lrs]

    def state_dict(self) -> dict:
        """Return how many steps have been taken."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on after so many steps."""
        super().load_state_dict(state_dict)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
