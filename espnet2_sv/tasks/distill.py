"""Knowledge distillation: any student learns speakers while it imitates an ASR teacher."""

import argparse
import logging
from pathlib import Path

import torch
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.distill.asr_branch import AsrBranch
from espnet2_sv.distill.kd_loss import DistillationLoss
from espnet2_sv.distill.posteriors import (
    CachedTeacher,
    PosteriorTable,
    matching_posteriors,
)
from espnet2_sv.distill.schedule import KDSchedule
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.models.distill_model import DistillModel
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.tasks.checks import wav_scp
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.tasks.transfer import add_encoder_arguments, start_from_asr
from espnet2_sv.train.checkpoint import has_checkpoint
from espnet2_sv.zoo.checkpoint import load_config

FROM_TEACHER = "teacher"  # value of --init_asr


class SVDistillTask(SVTask):
    """Train a speaker network of any architecture with an ASR model as its teacher.

    The teacher is needed in training only, and in no checkpoint. Checkpoints hold the
    ASR branch, so that training can be resumed; a model that is loaded or packed has
    none.
    """

    sv_task = "distill"

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of distillation."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Distillation")
        group.add_argument(
            "--asr",
            type=str_or_none,
            default=None,
            help="The ASR teacher (asr_resolve's)",
        )
        group.add_argument(
            "--init_asr",
            type=str_or_none,
            default=None,
            help=(
                "Start the student from this ASR model's encoder, as transfer does;"
                " 'teacher': from that of --asr"
            ),
        )
        add_encoder_arguments(group)
        group.add_argument(
            "--branch_conf",
            action=NestedDictAction,
            default={},
            help=(
                "layer: the block that the branch reads (default: the last), and"
                " num_blocks, dim, heads, linear_units, kernel, dropout_rate of the"
                " branch's own blocks"
            ),
        )
        group.add_argument(
            "--kd_conf",
            action=NestedDictAction,
            default={},
            help=(
                "temperature, top_k, blank_threshold, blank_weight, alignment (pool,"
                " interpolate)"
            ),
        )
        group.add_argument(
            "--kd_schedule",
            action=NestedDictAction,
            default={},
            help=(
                "Factor of the distillation loss: value, warmup_epochs, decay_from,"
                " decay_epochs, final"
            ),
        )
        group.add_argument(
            "--teacher_input",
            default="clean",
            choices=["clean", "augmented"],
            help="Whether the teacher hears the crop before or after augmentation",
        )
        group.add_argument(
            "--teacher_posteriors",
            type=str_or_none,
            default=None,
            help=(
                "What sv_teacher_posteriors made of the training audio: the teacher"
                " then does not run in training (--teacher_input clean, kd_conf with"
                " top_k, alignment pool)"
            ),
        )

    @classmethod
    def crop_options(cls, args: argparse.Namespace) -> dict:
        """Ask for what the teacher hears, or for what it has said."""
        if not args.asr:  # fine-tuning
            return {}
        if args.teacher_posteriors:
            return {"posteriors": PosteriorTable(args.teacher_posteriors)}
        return {"keep_clean": args.teacher_input == "clean"}

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> SpeakerModel:
        """Build student, branch and teacher; without a teacher, as in fine-tuning, the student."""
        if not args.asr and not args.init_sv:
            raise SVError("give --asr, the pretrained ASR model that teaches")
        student = build_student(cls, args)
        if not args.asr:
            return student
        # The student's random numbers are those of a training without a teacher.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(args.seed)
            return add_teacher(student, args)


def build_student(task: type[SVDistillTask], args: argparse.Namespace) -> SpeakerModel:
    """Build the student: from random weights, ``--init_asr`` or ``--init_sv``."""
    if not args.init_asr:
        return super(SVDistillTask, task).build_model(args)
    if args.init_sv:
        raise SVError("give either --init_asr or --init_sv, not both")
    args.sv_task = task.sv_task
    source = args.asr if args.init_asr == FROM_TEACHER else args.init_asr
    args.init_asr = None  # needed once
    return start_from_asr(args, source)


def add_teacher(student: SpeakerModel, args: argparse.Namespace) -> DistillModel:
    """Put the ASR branch and the teacher of ``--asr`` on a student."""
    if getattr(student.backbone.specaug, "time_warp", None) is not None:
        raise SVError(
            "specaug_conf: apply_time_warp (ESPnet's default) shifts the student's"
            " frames against the teacher's; set it to false"
        )
    teacher = load_teacher(args)
    branch_conf, kd_conf = dict(args.branch_conf), dict(args.kd_conf)
    layer = branch_conf.pop("layer", None)
    alignment = kd_conf.pop("alignment", "pool")
    try:
        branch = AsrBranch(student.backbone.block_dim, teacher.vocab, **branch_conf)
        kd_loss = DistillationLoss(blank=teacher.blank, **kd_conf)
        schedule = KDSchedule(**args.kd_schedule)
    except (TypeError, ValueError) as e:
        raise SVError(f"branch_conf, kd_conf or kd_schedule: {e}") from e
    if starts_as_teacher(student, args, layer):
        logging.info("The branch starts as the CTC layer of the teacher")
        teacher.copy_ctc(branch.norm, branch.output)
    if args.teacher_posteriors:
        teacher = stand_in(teacher, args, kd_loss)
    model = DistillModel(student, branch, teacher, kd_loss, schedule, layer, alignment)
    logging.info(
        f"Student: {count(model.backbone, model.head):,} parameters; with the ASR"
        " branch, which only training needs,"
        f" {count(model.backbone, model.head, branch):,}"
    )
    return model


def load_teacher(args: argparse.Namespace) -> Teacher:
    """Load the teacher and note which it is.

    Raises:
        SVError: It cannot teach, or the run that is being resumed had another one.
    """
    bundle = load_asr_bundle(args.asr)
    teacher = Teacher(bundle)
    logging.info(f"ASR teacher {args.asr}: {bundle.summary()}")
    config = Path(args.output_dir or "") / "config.yaml"
    if args.resume and config.exists() and has_checkpoint(config.parent):
        before = (load_config(config).get("asr_teacher") or {}).get("weights_sha256")
        if before not in (None, teacher.weights_sha256):
            raise SVError(
                f"{config.parent}: had another ASR teacher, with the weights {before},"
                f" not {teacher.weights_sha256} ({args.asr}); choose another"
                " --output_dir"
            )
    args.asr_teacher = {
        "source": str(args.asr),
        "weights_sha256": teacher.weights_sha256,
    }
    return teacher


def stand_in(
    teacher: Teacher, args: argparse.Namespace, kd_loss: DistillationLoss
) -> CachedTeacher:
    """Replace the teacher by its posteriors on disk.

    Raises:
        SVError: They do not belong to this training.
    """
    if args.teacher_input != "clean":
        raise SVError(
            "--teacher_posteriors: are of clean audio; give --teacher_input clean"
        )
    audio = wav_scp(args, "train")
    return CachedTeacher(
        matching_posteriors(args.teacher_posteriors, teacher, audio, kd_loss).info
    )


def starts_as_teacher(
    student: SpeakerModel, args: argparse.Namespace, layer: int | None
) -> bool:
    """Whether a student's frames are those that the teacher's own CTC layer would read."""
    started_from = getattr(args, "asr_init", None) or {}
    return (
        started_from.get("weights_sha256") == args.asr_teacher["weights_sha256"]
        and args.asr_num_blocks is None
        and layer in (None, student.backbone.num_blocks)
        and args.branch_conf.get("num_blocks") == 0
        and not args.branch_conf.get("dim")
        and hasattr(student.backbone.encoder, "after_norm")
    )


def count(*modules: torch.nn.Module) -> int:
    """Count parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())
