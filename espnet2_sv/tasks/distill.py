"""Train a speaker model with knowledge distillation from an ASR teacher."""

import argparse
import logging

import torch

from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none
from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.asr.prompt import prompt_symbols
from espnet2_sv.distill.posteriors import PosteriorTable
from espnet2_sv.errors import SVError
from espnet2_sv.models.build_distill import add_teacher
from espnet2_sv.tasks.checks import wav_scp
from espnet2_sv.tasks.previous_run import (
    check_teacher_of_previous_run,
    prompt_of_run,
)
from espnet2_sv.tasks.sv import Built, SVTask
from espnet2_sv.tasks.transfer import add_encoder_arguments, build_from_asr

FROM_TEACHER = "teacher"  # value of --init_asr


class SVDistillTask(SVTask):
    """Train a speaker model of any architecture with an ASR teacher (Cai & Li 2024).

    Only training needs the teacher, and no checkpoint contains it. Checkpoints contain
    the ASR branch, so that training can be resumed; it is dropped when the model is
    packed or loaded for inference.
    """

    sv_task = "distill"

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options for distillation."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Distillation")
        group.add_argument(
            "--asr",
            type=str_or_none,
            default=None,
            help="ASR teacher, prepared by asr_resolve",
        )
        group.add_argument(
            "--init_asr",
            type=str_or_none,
            default=None,
            help=(
                "Initialise the student from the encoder of this ASR model, as in"
                " transfer; 'teacher' is the ASR model of --asr"
            ),
        )
        add_encoder_arguments(group)
        group.add_argument(
            "--branch_conf",
            action=NestedDictAction,
            default={},
            help=(
                "layer: block whose output is the input of the branch (default: the"
                " last); num_blocks, dim, heads, linear_units, kernel, dropout_rate of"
                " the branch itself"
            ),
        )
        group.add_argument(
            "--kd_conf",
            action=NestedDictAction,
            default={},
            help=(
                "temperature, top_k, blank_threshold, blank_weight, alignment (pool or"
                " interpolate), float32_logits (false: logits in mixed precision)"
            ),
        )
        group.add_argument(
            "--kd_schedule",
            action=NestedDictAction,
            default={},
            help=(
                "Weight of the distillation loss by epoch: value, warmup_epochs,"
                " decay_from, decay_epochs, final"
            ),
        )
        group.add_argument(
            "--teacher_input",
            default="clean",
            choices=["clean", "augmented"],
            help="Input of the teacher: the crop before or after augmentation",
        )
        group.add_argument(
            "--teacher_posteriors",
            type=str_or_none,
            default=None,
            help=(
                "Output of sv_teacher_posteriors for the training audio, used instead"
                " of running the teacher; requires --teacher_input clean and kd_conf"
                " with top_k and alignment pool"
            ),
        )

    @classmethod
    def crop_options(cls, args: argparse.Namespace) -> dict:
        """Request clean crops or precomputed posteriors for the teacher."""
        if not args.asr:  # fine-tuning
            return {}
        if args.teacher_posteriors:
            return {"posteriors": PosteriorTable(args.teacher_posteriors)}
        return {"keep_clean": args.teacher_input == "clean"}

    @classmethod
    def build(cls, args: argparse.Namespace) -> Built:
        """Build student, branch and teacher; without ``--asr`` only the student."""
        if not args.asr and not args.init_sv:
            raise SVError("give --asr, the pretrained ASR teacher")
        student, changes = cls.build_student(args)
        if not args.asr:  # fine-tuning
            return student, changes
        # Keep the student's random state the same as in training without a teacher.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(args.seed)
            bundle = load_asr_bundle(args.asr)
            logging.info(f"ASR teacher {args.asr}: {bundle.summary()}")
            check_teacher_of_previous_run(args, bundle.weights_sha256)
            symbols = prompt_symbols(bundle.args, **prompt_of_run(args, "asr_teacher"))
            model = add_teacher(
                student,
                bundle,
                args,
                wav_scp(args, "train") if args.teacher_posteriors else None,
                changes.get("asr_init", getattr(args, "asr_init", None)),
                symbols,
            )
        asr_teacher = {
            "source": str(args.asr),
            "weights_sha256": bundle.weights_sha256,
            **{key: symbol for key, symbol in symbols.items() if symbol},
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
