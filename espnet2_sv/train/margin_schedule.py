"""The margin schedule of the classification loss."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espnet2_sv.errors import SVError

if TYPE_CHECKING:
    from espnet2.spk.loss.abs_loss import AbsLoss


@dataclass(frozen=True)
class MarginSchedule:
    """Margin of AAM-softmax (Deng et al. 2019, "ArcFace", equation 3) by epoch.

    Constant at first, then linear up to the margin of ``loss_conf``, because an
    untrained model learns little with a large margin.

    Attributes:
        initial: Initial margin in radians.
        from_epoch: Last epoch, counted from 1, with the initial margin.
        to_epoch: First epoch with the full margin.

    Raises:
        SVError: The margin is negative, or ``to_epoch`` does not follow ``from_epoch``.
    """

    initial: float = 0.0
    from_epoch: int = 0
    to_epoch: int = 1

    def __post_init__(self):
        """Validate the settings."""
        if self.initial < 0 or not 0 <= self.from_epoch < self.to_epoch:
            raise SVError(
                f"margin_schedule: {self}: initial and from_epoch must not be negative,"
                " from_epoch must be less than to_epoch"
            )

    def __call__(self, epoch: int, full: float) -> float:
        """Return the margin for an epoch.

        Args:
            epoch: Number of the epoch, counted from 1.
            full: Full margin in radians.
        """
        progress = (epoch - self.from_epoch) / (self.to_epoch - self.from_epoch)
        return self.initial + min(max(progress, 0.0), 1.0) * (full - self.initial)


def get_margin(loss: "AbsLoss") -> float:
    """Return the margin of a loss in radians.

    Raises:
        SVError: The loss has no margin.
    """
    if not hasattr(loss, "m"):
        raise SVError(
            f"margin_schedule: the loss {type(loss).__name__} has no margin to schedule"
        )
    return loss.m


def set_margin(loss: "AbsLoss", margin: float) -> None:
    """Set the margin of one of ESPnet's AAM-softmax losses, in radians."""
    if hasattr(loss, "update"):  # the loss with sub-centres
        loss.update(margin)
        return
    loss.m = margin
    loss.cos_m, loss.sin_m = math.cos(margin), math.sin(margin)
    loss.th = math.cos(math.pi - margin)
    loss.mm = math.sin(math.pi - margin) * margin
