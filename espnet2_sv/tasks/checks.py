"""Checks of training options and data, made before any process or model is started."""

import argparse

import torch

from espnet2.train.distributed_utils import get_num_nodes, get_world_size
from espnet2_sv.data.dataset import NO_POSTERIORS
from espnet2_sv.data.kaldi import KaldiTable, read_two_column
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.errors import SVError, require_positive
from espnet2_sv.fileio import require_writable
from espnet2_sv.scoring.trials import read_trials
from espnet2_sv.tasks.previous_run import check_previous_run
from espnet2_sv.train.lr_schedule import CosineSchedule
from espnet2_sv.train.margin_schedule import MarginSchedule

# Schedulers of ESPnet and PyTorch that set one learning rate for all parameter groups
SINGLE_RATE_SCHEDULERS = (
    "cosineannealingwarmuprestarts",
    "exponentialdecaywarmup",
    "cycliclr",
    "onecyclelr",
)
MIN_BATCH_PER_PROCESS = 2  # BatchNorm needs two utterances


def wav_scp(args: argparse.Namespace, mode: str) -> str:
    """Return the wav.scp of ``--{train,valid}_data_path_and_name_and_type``."""
    option = f"{mode}_data_path_and_name_and_type"
    paths = [path for path, name, _ in getattr(args, option) if name == "speech"]
    if len(paths) != 1:
        raise SVError(f"--{option}: give one 'DIR/wav.scp,speech,sound'")
    return paths[0]


def check_training_arguments(args: argparse.Namespace) -> SpeakerLabels:
    """Check the options and files of a training run.

    Returns:
        The classes of the run: every speaker at every speed.

    Raises:
        SVError: An option or a file is invalid.
    """
    for option in ("spk2utt", "valid_trials"):
        if not getattr(args, option):
            raise SVError(f"--{option} is required for training")
    if args.ngpu > 0 and not torch.cuda.is_available():
        raise SVError(
            f"--ngpu {args.ngpu}: this machine has no usable GPU; give --ngpu 0"
        )
    if args.use_adapter:
        raise SVError(
            "--use_adapter: a model with ESPnet's adapters (LoRA) could not be loaded"
            " again; leave it out"
        )
    check_schedules(args)
    require_positive("--dist_timeout", args.dist_timeout)
    world_size = number_of_processes(args)
    if args.batch_size < MIN_BATCH_PER_PROCESS * world_size:
        raise SVError(
            f"--batch_size {args.batch_size} with {world_size} process(es): BatchNorm"
            f" needs at least {MIN_BATCH_PER_PROCESS} utterances per process"
        )
    if args.batch_size % world_size:
        raise SVError(
            f"--batch_size {args.batch_size} is not divisible by the number of"
            f" processes, {world_size}"
        )
    several_rates = args.encoder_lr_factor != 1 or args.layer_decay != 1
    if several_rates and args.scheduler in SINGLE_RATE_SCHEDULERS:
        raise SVError(
            f"scheduler {args.scheduler} sets one learning rate for all parameters: set"
            " encoder_lr_factor and layer_decay to 1, or use lr_schedule instead"
        )
    require_writable(args.output_dir)
    train_utterances = len(KaldiTable.read(wav_scp(args, "train")))
    speakers = SpeakerLabels.from_spk2utt(args.spk2utt)
    if len(speakers) < 2:
        raise SVError(
            f"{args.spk2utt}: only one speaker; a classifier needs at least two"
        )
    if not train_utterances:
        raise SVError(f"{wav_scp(args, 'train')}: is empty")
    speeds = Speeds(args.speed_perturb_factors)
    check_batch_size(args, train_utterances * len(speeds))
    if getattr(args, "teacher_posteriors", None):
        speeds.require_original_only(NO_POSTERIORS)
    labels = speeds.classes(speakers)
    check_validation(args)
    check_previous_run(args, labels)
    return labels


def check_batch_size(args: argparse.Namespace, examples: int) -> None:
    """Check that an epoch of one pass over the data has several steps.

    With ``--num_iters_per_epoch`` a small corpus is repeated, with other crops.

    Raises:
        SVError: The batch is as large as the training set.
    """
    if args.num_iters_per_epoch is None and args.batch_size > examples:
        raise SVError(
            f"--batch_size {args.batch_size}: there are only {examples:,} training"
            " utterances (at all speeds), so an epoch would be a single step; give a"
            f" --batch_size of {max(examples // 8, MIN_BATCH_PER_PROCESS)} or so, or"
            " --num_iters_per_epoch"
        )


def number_of_processes(args: argparse.Namespace) -> int:
    """Return the number of distributed training processes (see ``AbsTask.main``).

    It is given by options (``espnet2.bin.launch``), by the environment (``torchrun``),
    by Slurm or by MPI.

    Raises:
        SVError: The options are inconsistent, or the launcher did not start this
            process.
    """
    if args.ngpu > 1 and not args.multiprocessing_distributed:
        raise SVError(f"--ngpu {args.ngpu} needs --multiprocessing_distributed true")
    world_size, launcher = args.dist_world_size, args.dist_launcher
    try:
        if args.multiprocessing_distributed:
            return max(args.ngpu, 1) * get_num_nodes(world_size, launcher)
        return get_world_size(world_size, launcher)
    except RuntimeError as e:  # not started by this launcher
        raise SVError(f"--dist_launcher {launcher}: {e}") from e


def check_validation(args: argparse.Namespace) -> None:
    """Check the validation trials.

    Raises:
        SVError: An utterance is not in the wav.scp, or there are no target or no
            nontarget trials.
    """
    path = wav_scp(args, "valid")
    utterances = read_two_column(path)
    trials = read_trials(args.valid_trials)
    for utterance in {*trials.enroll, *trials.test}:
        if utterance not in utterances:
            raise SVError(
                f"{args.valid_trials}: utterance {utterance} is not in {path}"
            )
    if len({bool(label) for label in trials.labels}) < 2:
        raise SVError(f"{args.valid_trials}: needs both target and nontarget trials")


def check_schedules(args: argparse.Namespace) -> None:
    """Check the learning rate schedule and the margin schedule.

    Raises:
        SVError: A schedule is invalid, or there are two learning rate schedules.
    """
    try:
        CosineSchedule(**args.lr_schedule)
        MarginSchedule(**args.margin_schedule)
    except TypeError as e:
        raise SVError(f"lr_schedule or margin_schedule: {e}") from e
    if args.lr_schedule and args.scheduler:
        raise SVError(
            f"lr_schedule replaces the scheduler {args.scheduler}: give only one of"
            " them"
        )
