"""Options of the speaker trainer beyond ESPnet's."""

import argparse
import dataclasses

from espnet2.train.trainer import TrainerOptions
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet2_sv.errors import SVError
from espnet2_sv.train.lr_schedule import CosineSchedule
from espnet2_sv.train.margin_schedule import MarginSchedule


@dataclasses.dataclass
class SVTrainerOptions(TrainerOptions):
    """ESPnet's options and those of speaker training."""

    valid_trials: str
    freeze_encoder_epochs: int
    margin_schedule: dict
    lr_schedule: dict
    sync_batchnorm: bool

    def __post_init__(self):
        """Set what is no option: parameters that DistributedDataParallel synchronises, margin."""
        self.wrapped_parameters: frozenset[int] = frozenset()
        self.full_margin = 0.0


def add_trainer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of schedules and of training in several processes."""
    group = parser.add_argument_group("Speaker trainer")
    group.add_argument(
        "--lr_schedule",
        action=NestedDictAction,
        default={},
        help=(
            "Warm-up and cosine decay that scale every group of parameters by its own"
            " rate: warmup_steps, final (factor at the end), total_steps (default: all"
            " steps of training). Replaces --scheduler"
        ),
    )
    group.add_argument(
        "--margin_schedule",
        action=NestedDictAction,
        default={},
        help=(
            "The loss's margin rises to that of loss_conf: initial (radians),"
            " from_epoch (the last with the initial margin), to_epoch (the first with"
            " the full one)"
        ),
    )
    group.add_argument(
        "--sync_batchnorm",
        type=str2bool,
        default=True,
        help=(
            "With several processes, normalise over the batch of all, as one process"
            " would"
        ),
    )


def check_schedules(args: argparse.Namespace) -> None:
    """Find mistakes in schedules before anything is started.

    Raises:
        SVError: A schedule is impossible, or there are two of the learning rate.
    """
    try:
        CosineSchedule(**args.lr_schedule)
        MarginSchedule(**args.margin_schedule)
    except TypeError as e:
        raise SVError(f"lr_schedule or margin_schedule: {e}") from e
    if args.lr_schedule and args.scheduler:
        raise SVError(
            f"lr_schedule replaces the scheduler {args.scheduler}: give one of the two"
        )
