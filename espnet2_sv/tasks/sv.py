"""Train a speaker model from scratch; base class of the other speaker tasks."""

import argparse
import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet2.tasks.abs_task import AbsTask, optim_classes
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.distributed_utils import get_node_rank, get_rank
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.data.iter_factory import EmbedIterFactory, TrainIterFactory
from espnet2_sv.data.kaldi import read_spk2utt
from espnet2_sv.data.labels import LABELS_FILE, SpeakerLabels, Speeds
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import locked
from espnet2_sv.models.build import build_network, with_changes
from espnet2_sv.models.choices import ALL_CHOICES
from espnet2_sv.models.fine_tuning import init_from_speaker_model
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.scoring.trials import read_trials
from espnet2_sv.tasks.arguments import add_sv_arguments
from espnet2_sv.tasks.checks import check_training_arguments, wav_scp
from espnet2_sv.tasks.previous_run import initial_model_of_previous_run
from espnet2_sv.tasks.ranks import (
    describe_rank_error,
    run_rank,
    started_ranks,
    starts_ranks,
)
from espnet2_sv.train.param_groups import parameter_groups
from espnet2_sv.train.process_group import let_nccl_detect_errors
from espnet2_sv.train.trainer import SVTrainer
from espnet2_sv.zoo.source import SV_TASKS, SpeakerSource

# SNR in dB and number of voices, as usual for VoxCeleb
BABBLE = {"snr": [13, 20], "num": [3, 8]}
# A model and the arguments to record in config.yaml
Built = tuple[SpeakerModel, dict[str, Any]]


class SVTask(AbsTask):
    """Train a speaker model with any supported encoder from random weights.

    Data loading, batching and validation are specific to this project; options,
    schedulers, logging, distributed launch and checkpoints are ESPnet's.
    """

    sv_task = "scratch"
    class_choices_list = ALL_CHOICES
    trainer = SVTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options for speaker training."""
        parser.add_argument_group("Task").add_argument(
            "--sv_task",
            default=cls.sv_task,
            choices=SV_TASKS,
            help="How the speaker model is trained",
        )
        add_sv_arguments(parser, cls.class_choices_list)

    @classmethod
    def main(
        cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None
    ):
        """Train, with the options of ``args`` or of the command line ``cmd``.

        Raises:
            SVError: An option or a data file is invalid.
        """
        if args is None:
            args = cls.get_parser().parse_args(cmd)
        if args.sv_task != cls.sv_task:
            raise SVError(
                f"sv_task is {args.sv_task}, but this command trains {cls.sv_task}: use"
                " sv_train, which trains any task"
            )
        if not args.print_config and args.output_dir is not None:
            args.spk_num = len(check_training_arguments(args))
        if args.ngpu == 0:
            args.dist_backend = "gloo"  # NCCL supports only GPUs
        ranks = started_ranks if starts_ranks(args) else contextlib.nullcontext
        with output_lock(args), ranks(args):
            super().main(args=args)

    @classmethod
    def main_worker(cls, args: argparse.Namespace):
        """Train in one process, one of several in distributed training.

        Raises:
            SVError: Options or data are invalid, the rendezvous failed, or another
                process is gone.
        """
        let_nccl_detect_errors()
        if hasattr(args, "reports"):  # started by main()
            run_rank(super().main_worker, args)
            return
        try:
            super().main_worker(args)
        except Exception as e:
            error = describe_rank_error(e, args)
            if error is e:
                raise
            raise error from e

    # Model

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SpeakerModel:
        """Build the model and complete the arguments that config.yaml records."""
        model, changes = cls.build(args)
        if args.grad_checkpointing:
            checkpoint_blocks(model)
        vars(args).update(
            changes,
            sv_task=cls.sv_task,
            padding_sensitive=model.backbone.padding_sensitive,
        )
        return model

    @classmethod
    def build(cls, args: argparse.Namespace) -> Built:
        """Build the model, initialised from ``--init_sv`` if given.

        Returns:
            The model, and the arguments to replace in ``args``, such as those taken
            over from a pretrained model.
        """
        if not getattr(args, "init_sv", None):
            return build_network(args), {}
        previous = initial_model_of_previous_run(args)
        if previous is not None:
            return build_network(with_changes(args, previous)), previous
        return init_from_speaker_model(args)

    @classmethod
    def build_model_from_file(
        cls,
        config_file: str | Path | None = None,
        model_file: str | Path | None = None,
        device: str = "cpu",
        asr: str | Path | None = None,
    ) -> tuple[SpeakerModel, argparse.Namespace]:
        """Load a trained model in eval mode.

        Args:
            config_file: Its config.yaml; by default the one beside ``model_file``.
            model_file: Its weights.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
            asr: ASR model of an adaptor, if it has moved since training.

        Returns:
            The model and its training arguments.

        Raises:
            SVError: The files are not a speaker model, the weights do not match the
                config, or the device does not exist.
        """
        if model_file is None:
            raise SVError("model_file: give the weights of the trained model")
        config_file = config_file or Path(model_file).parent / "config.yaml"
        source = SpeakerSource.from_files(config_file, model_file, asr)
        return load_speaker_model(source, device)

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: SpeakerModel):
        """Build one optimizer with layer-wise learning rates."""
        optim_class = optim_classes[args.optim]
        groups = parameter_groups(
            model,
            lr=args.optim_conf.get("lr", cls.default_lr(optim_class)),
            encoder_lr_factor=args.encoder_lr_factor,
            layer_decay=args.layer_decay,
            exclude_weight_decay=args.exclude_weight_decay,
        )
        return [optim_class(groups, **args.optim_conf)]

    @staticmethod
    def default_lr(optim_class) -> float:
        """Return the default learning rate of an optimizer class."""
        return optim_class([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"]

    # Data

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False):
        """Return the required entries of a batch."""
        return ("speech", "spk_labels") if train else ("speech",)

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False):
        """Return the optional entries of a batch."""
        return ()

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool):
        """Return ESPnet's collate function, for its streaming iterators."""
        return CommonCollateFn()

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool):
        """Return None: the dataset crops and augments."""
        return None

    @classmethod
    def build_iter_factory(cls, args, distributed_option, mode: str, kwargs=None):
        """Build the iterator over training crops or whole validation utterances."""
        rank, world_size = 0, 1
        if distributed_option.distributed:
            rank = distributed_option.dist_rank
            world_size = distributed_option.dist_world_size
        shared = {
            "sample_rate": args.sample_rate,
            "num_workers": args.num_workers,
            "rank": rank,
            "world_size": world_size,
            "pin_memory": args.ngpu > 0,
        }
        if mode == "train":
            labels = SpeakerLabels.from_spk2utt(args.spk2utt)
            speeds = Speeds(args.speed_perturb_factors)
            if rank == 0:
                speeds.classes(labels).save(Path(args.output_dir) / LABELS_FILE)
            return TrainIterFactory(
                wav_scp(args, "train"),
                labels,
                utt2spk(args.spk2utt),
                crop_seconds=args.target_duration,
                batch_size=args.batch_size,
                seed=args.seed,
                augment_conf=augmentation(args),
                num_iters_per_epoch=args.num_iters_per_epoch,
                speeds=speeds,
                **cls.crop_options(args),
                **shared,
            )
        trials = read_trials(args.valid_trials)
        return EmbedIterFactory(
            wav_scp(args, "valid"),
            sorted({*trials.enroll, *trials.test}),
            batch_size=args.valid_batch_size or args.batch_size,
            equal_lengths_only=args.padding_sensitive,
            **shared,
        )

    @classmethod
    def crop_options(cls, args: argparse.Namespace) -> dict:
        """Return further options of the training set, for tasks that need them."""
        return {}


def checkpoint_blocks(model: SpeakerModel) -> None:
    """Trade time for memory in the encoder's blocks, see ``--grad_checkpointing``.

    Raises:
        SVError: The encoder is frozen or has no blocks.
    """
    if not isinstance(model.backbone, BlockBackbone):
        frozen = isinstance(model.backbone, FrozenBackbone)
        reason = "is frozen and keeps nothing" if frozen else "is no stack of blocks"
        raise SVError(f"--grad_checkpointing: this encoder {reason}; leave it out")
    model.backbone.grad_checkpointing = True


@contextlib.contextmanager
def output_lock(args: argparse.Namespace) -> Iterator[None]:
    """Keep a second training out of ``--output_dir``.

    Raises:
        SVError: Another training is running there.
    """
    of_rank = get_node_rank if args.multiprocessing_distributed else get_rank
    first = not of_rank(args.dist_rank, args.dist_launcher)
    if args.output_dir is None or args.print_config or not first:
        yield
        return
    with locked(args.output_dir, wait=False):
        yield


def augmentation(args: argparse.Namespace) -> dict:
    """Return ``--augment_conf`` with ``--noise_scp`` and ``--rir_scp`` as defaults.

    Without a list of noises, babble of the training recordings takes their place.
    """
    conf = copy.deepcopy(args.augment_conf)
    noises = conf.get("noise") or []
    if args.noise_scp:
        conf["noise"] = [{"scp": args.noise_scp, **entry} for entry in noises or [{}]]
    elif unlisted := [entry for entry in noises if not entry.get("scp")]:
        logging.warning(
            "augment_conf: no list of noises is given (--noise_scp), so babble of the"
            " training recordings is added instead; sv_prep_noises lists better noises"
        )
        babble = {"scp": wav_scp(args, "train"), **BABBLE}
        babble["weight"] = sum(entry.get("weight", 1.0) for entry in unlisted)
        conf["noise"] = [entry for entry in noises if entry.get("scp")] + [babble]
    if args.rir_scp:
        conf["rir"] = {"scp": args.rir_scp, **(conf.get("rir") or {})}
    return conf


def utt2spk(spk2utt: str) -> str | dict[str, str]:
    """Return the utt2spk beside a spk2utt, or compute it if there is no such file."""
    path = Path(spk2utt).with_name("utt2spk")
    if path.exists():
        return str(path)
    return {u: s for s, utterances in read_spk2utt(spk2utt).items() for u in utterances}
