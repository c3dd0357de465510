"""Knowledge distillation: any student learns speakers while it imitates an ASR teacher."""

import argparse
import logging

import torch
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.distill.posteriors import PosteriorTable
from espnet2_sv.errors import SVError
from espnet2_sv.models.build_distill import add_teacher
from espnet2_sv.tasks.checks import wav_scp
from espnet2_sv.tasks.previous_run import check_teacher_of_previous_run
from espnet2_sv.tasks.sv import Built, SVTask
from espnet2_sv.tasks.transfer import add_encoder_arguments, build_from_asr

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
    def build(cls, args: argparse.Namespace) -> Built:
        """Build student, branch and teacher; without ``--asr`` the student alone."""
        if not args.asr and not args.init_sv:
            raise SVError("give --asr, the pretrained ASR model that teaches")
        student, changes = cls.build_student(args)
        if not args.asr:  # fine-tuning
            return student, changes
        # The student's random numbers are those of a training without a teacher.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(args.seed)
            bundle = load_asr_bundle(args.asr)
            logging.info(f"ASR teacher {args.asr}: {bundle.summary()}")
            check_teacher_of_previous_run(args, bundle.weights_sha256)
            model = add_teacher(
                student,
                bundle,
                args,
                wav_scp(args, "train") if args.teacher_posteriors else None,
                changes.get("asr_init", getattr(args, "asr_init", None)),
            )
        asr_teacher = {
            "source": str(args.asr),
            "weights_sha256": bundle.weights_sha256,
        }
        return model, changes | {"asr_teacher": asr_teacher}

    @classmethod
    def build_student(cls, args: argparse.Namespace) -> Built:
        """Build the student: from random weights, ``--init_asr`` or ``--init_sv``."""
        if not args.init_asr:
            return super().build(args)
        if args.init_sv:
            raise SVError("give either --init_asr or --init_sv, not both")
        source = args.asr if args.init_asr == FROM_TEACHER else args.init_asr
        student, changes = build_from_asr(args, source)
        return student, changes | {"init_asr": None}  # needed once
