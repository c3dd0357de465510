"""Add an ASR branch, a teacher and a distillation loss to a student."""

import argparse
import logging
from typing import Any

import torch

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.distill.asr_branch import AsrBranch
from espnet2_sv.distill.kd_loss import DistillationLoss, KDSchedule
from espnet2_sv.distill.posteriors import CachedTeacher, matching_posteriors
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
    symbols: dict[str, str | None] | None = None,
) -> DistillModel:
    """Build the distillation model of a student and an ASR teacher.

    Args:
        student: The speaker model.
        bundle: The ASR teacher.
        args: Training arguments.
        wav_scp: Kaldi wav.scp of the training set; only needed for precomputed
            posteriors.
        asr_init: The ``asr_init`` entry of the student's config, which records the
            ASR model that its encoder was initialised from; None for random weights.
        symbols: ``lang_sym`` and ``task_sym`` that an OWSM-CTC teacher reads.

    Raises:
        SVError: The ASR model cannot be the teacher, or an option is invalid.
    """
    if getattr(student.backbone.specaug, "time_warp", None) is not None:
        raise SVError(
            "specaug_conf: apply_time_warp (ESPnet's default) misaligns the student's"
            " and the teacher's frames; set it to false"
        )
    teacher = Teacher(bundle, **(symbols or {}))
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
    if same_encoder and branch_replaces_ctc(student, args, layer):
        logging.info("Initialised the ASR branch with the teacher's CTC layer")
        teacher.copy_ctc(branch.norm, branch.output)
    source: Teacher | CachedTeacher = teacher
    if args.teacher_posteriors:
        assert wav_scp is not None, "precomputed posteriors belong to utterances"
        source = cached_teacher(teacher, args, kd_loss, wav_scp)
    model = DistillModel(student, branch, source, kd_loss, schedule, layer, alignment)
    network = model.backbone, model.head
    logging.info(
        f"Student: {count_parameters(*network):,} parameters;"
        f" {count_parameters(*network, branch):,} with the ASR branch, which only"
        " training needs"
    )
    return model


def cached_teacher(
    teacher: Teacher,
    args: argparse.Namespace,
    kd_loss: DistillationLoss,
    wav_scp: str,
) -> CachedTeacher:
    """Replace the teacher by its precomputed posteriors.

    Raises:
        SVError: The posteriors do not match this training.
    """
    if args.teacher_input != "clean":
        raise SVError(
            "--teacher_posteriors: computed from clean audio; give --teacher_input"
            " clean"
        )
    posteriors = matching_posteriors(args.teacher_posteriors, teacher, wav_scp, kd_loss)
    return CachedTeacher(posteriors.info)


def branch_replaces_ctc(
    student: SpeakerModel, args: argparse.Namespace, layer: int | None
) -> bool:
    """Whether the branch has the same input and layers as the encoder's CTC layer."""
    return (
        args.asr_num_blocks is None
        and layer in (None, student.backbone.num_blocks)
        and args.branch_conf.get("num_blocks") == 0
        and not args.branch_conf.get("dim")
        and hasattr(student.backbone.encoder, "after_norm")
    )


def count_parameters(*modules: torch.nn.Module) -> int:
    """Count the parameters of some modules."""
    return sum(p.numel() for module in modules for p in module.parameters())
