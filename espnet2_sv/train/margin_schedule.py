"""How large the margin of the classification loss is, epoch by epoch."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espnet2_sv.errors import SVError

if TYPE_CHECKING:
    from espnet2.spk.loss.abs_loss import AbsLoss


@dataclass(frozen=True)
class MarginSchedule:
    """The margin of additive angular margin softmax (AAM-softmax) in an epoch.

    It stays at its first value, then rises linearly to that of ``loss_conf``: a network
        that
    cannot tell speakers apart yet learns little from a large margin.

    Attributes:
        initial: The margin at first, in radians.
        from_epoch: The last epoch (from 1) of the initial margin.
        to_epoch: The first epoch of the full margin.

    Raises:
        SVError: The margin is negative, or the epochs are not in order.
    """

    initial: float = 0.0
    from_epoch: int = 0
    to_epoch: int = 1

    def __post_init__(self):
        """Check the values."""
        if self.initial < 0 or not 0 <= self.from_epoch < self.to_epoch:
            raise SVError(
                f"margin_schedule: {self}: initial from 0 on, from_epoch below to_epoch"
            )

    def __call__(self, epoch: int, full: float) -> float:
        """Return the margin in an epoch, counted from 1, that rises to ``full``."""
        gone = (epoch - self.from_epoch) / (self.to_epoch - self.from_epoch)
        return self.initial + min(max(gone, 0.0), 1.0) * (full - self.initial)


def margin_of(loss: "AbsLoss") -> float:
    """Return a loss's margin in radians.

    Raises:
        SVError: It has none.
    """
    if not hasattr(loss, "m"):
        raise SVError(
            f"margin_schedule: the loss {type(loss).__name__} has no margin to schedule"
        )
    return loss.m


def set_margin(loss: "AbsLoss", margin: float) -> None:
    """Change the margin of one of ESPnet's AAM-softmax losses to ``margin`` radians."""
    if hasattr(loss, "update"):  # sub-centres
        loss.update(margin)
        return
    loss.m = margin
    loss.cos_m, loss.sin_m = math.cos(margin), math.sin(margin)
    loss.th = math.cos(math.pi - margin)
    loss.mm = math.sin(math.pi - margin) * margin
