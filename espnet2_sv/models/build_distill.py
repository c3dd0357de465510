"""Building what distillation adds to a student: ASR branch, teacher and loss."""

import argparse
import logging
from typing import Any

import torch

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.distill.asr_branch import AsrBranch
from espnet2_sv.distill.kd_loss import DistillationLoss
from espnet2_sv.distill.posteriors import CachedTeacher, matching_posteriors
from espnet2_sv.distill.schedule import KDSchedule
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.models.distill_model import DistillModel
from espnet2_sv.models.speaker_model import SpeakerModel


def add_teacher(
    student: SpeakerModel,
    bundle: AsrBundle,
    args: argparse.Namespace,
    wav_scp: str | None,
    asr_init: dict[str, Any] | None,
) -> DistillModel:
    """Put ASR branch, teacher and distillation loss on a student.

    Args:
        student: The speaker model.
        bundle: The ASR model that teaches.
        args: Training arguments.
        wav_scp: The training utterances; needed where posteriors come from disk.
        asr_init: What the student's encoder started from, as its configuration records
            it; None for random weights.

    Raises:
        SVError: The ASR model cannot teach, or an option does not fit.
    """
    if getattr(student.backbone.specaug, "time_warp", None) is not None:
        raise SVError(
            "specaug_conf: apply_time_warp (ESPnet's default) shifts the student's"
            " frames against the teacher's; set it to false"
        )
    teacher = Teacher(bundle)
    branch_conf, kd_conf = dict(args.branch_conf), dict(args.kd_conf)
    layer = branch_conf.pop("layer", None)
    alignment = kd_conf.pop("alignment", "pool")
    try:
        branch = AsrBranch(student.backbone.block_dim, teacher.vocab, **branch_conf)
        kd_loss = DistillationLoss(blank=teacher.blank, **kd_conf)
        schedule = KDSchedule(**args.kd_schedule)
    except (TypeError, ValueError) as e:
        raise SVError(f"branch_conf, kd_conf or kd_schedule: {e}") from e
    same_encoder = (asr_init or {}).get("weights_sha256") == teacher.weights_sha256
    if same_encoder and reads_final_frames(student, args, layer):
        logging.info("The branch starts as the CTC layer of the teacher")
        teacher.copy_ctc(branch.norm, branch.output)
    source: Teacher | CachedTeacher = teacher
    if args.teacher_posteriors:
        assert wav_scp is not None, "precomputed posteriors belong to utterances"
        source = cached_teacher(teacher, args, kd_loss, wav_scp)
    model = DistillModel(student, branch, source, kd_loss, schedule, layer, alignment)
    network = model.backbone, model.head
    logging.info(
        f"Student: {count_parameters(*network):,} parameters; with the ASR branch,"
        f" which only training needs, {count_parameters(*network, branch):,}"
    )
    return model


def cached_teacher(
    teacher: Teacher,
    args: argparse.Namespace,
    kd_loss: DistillationLoss,
    wav_scp: str,
) -> CachedTeacher:
    """Replace the teacher by its posteriors on disk.

    Raises:
        SVError: They do not belong to this training.
    """
    if args.teacher_input != "clean":
        raise SVError(
            "--teacher_posteriors: are of clean audio; give --teacher_input clean"
        )
    posteriors = matching_posteriors(args.teacher_posteriors, teacher, wav_scp, kd_loss)
    return CachedTeacher(posteriors.info)


def reads_final_frames(
    student: SpeakerModel, args: argparse.Namespace, layer: int | None
) -> bool:
    """Whether the branch reads what an ASR encoder's own CTC layer would read."""
    return (
        args.asr_num_blocks is None
        and layer in (None, student.backbone.num_blocks)
        and args.branch_conf.get("num_blocks") == 0
        and not args.branch_conf.get("dim")
        and hasattr(student.backbone.encoder, "after_norm")
    )


def count_parameters(*modules: torch.nn.Module) -> int:
    """Count the parameters of modules."""
    return sum(p.numel() for module in modules for p in module.parameters())
