#!/usr/bin/env python3
"""Precompute frame-level CTC posteriors of an ASR teacher."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Write the frame-level CTC posteriors of an ASR teacher for whole utterances."
        " sv_distill_train reads them with --teacher_posteriors; temperature and top_k"
        " must be those of its kd_conf. A frame takes 8 x top_k + 4 bytes."
    )
    parser.add_argument(
        "--asr", required=True, metavar="SOURCE", help=f"ASR teacher: {options.SOURCE}"
    )
    options.add_wav_scp(parser)
    options.add_output_dir(parser, "Directory to write")
    parser.add_argument(
        "--temperature",
        type=options.positive_float,
        default=1.0,
        help="Softmax temperature of the posteriors",
    )
    parser.add_argument(
        "--top_k",
        type=options.positive_int,
        default=32,
        help="Number of classes kept per frame",
    )
    for name in ("lang_sym", "task_sym"):
        parser.add_argument(f"--{name}", help="As in the training; of OWSM-CTC only")
    options.add_gpu(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the posteriors."""
    args = get_parser().parse_args(cmd)
    options.require_files(args, "wav_scp")
    from espnet2_sv.asr import load_asr_bundle
    from espnet2_sv.distill.kd_loss import DistillationLoss
    from espnet2_sv.distill.posteriors import write_posteriors
    from espnet2_sv.distill.teacher import Teacher
    from espnet2_sv.models.load import check_device

    device = "cuda" if args.ngpu else "cpu"
    check_device(device)
    bundle = load_asr_bundle(args.asr)
    teacher = Teacher(bundle, args.lang_sym, args.task_sym).eval().to(device)
    loss = DistillationLoss(args.temperature, args.top_k)
    write_posteriors(teacher, args.wav_scp, args.output_dir, loss)


if __name__ == "__main__":
    run(main)
