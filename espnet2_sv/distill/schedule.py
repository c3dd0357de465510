"""How much the teacher counts, epoch by epoch."""

from dataclasses import dataclass

from espnet2_sv.errors import SVError


@dataclass(frozen=True)
class KDSchedule:
    """The factor lambda of the distillation loss.

    It rises linearly to its value over the first epochs, then stays, and, from an epoch
    on, falls linearly. An epoch of factor 0 runs without teacher and branch.

    Attributes:
        value: Lambda.
        warmup_epochs: Epochs over which it rises; 0: it starts at its value.
        decay_from: The last epoch (from 1) at full value; None: it does not fall.
        decay_epochs: Epochs over which it falls.
        final: What it falls to.

    Raises:
        SVError: A value is negative, or it would fall over no epochs.
    """

    value: float = 1.0
    warmup_epochs: int = 0
    decay_from: int | None = None
    decay_epochs: int = 1
    final: float = 0.0

    def __post_init__(self):
        """Check the values."""
        if min(self.value, self.final, self.warmup_epochs) < 0 or self.decay_epochs < 1:
            raise SVError(
                f"kd_schedule: {self} must have no negative value, decay_epochs over 0"
            )

    def __call__(self, epoch: int) -> float:
        """Return lambda in an epoch, counted from 1."""
        if epoch < self.warmup_epochs:
            return self.value * epoch / self.warmup_epochs
        if self.decay_from is None or epoch <= self.decay_from:
            return self.value
        gone = min(1.0, (epoch - self.decay_from) / self.decay_epochs)
        return self.value + gone * (self.final - self.value)
