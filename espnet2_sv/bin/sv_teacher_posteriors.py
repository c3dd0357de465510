#!/usr/bin/env python3
"""Write an ASR teacher's posteriors to disk, so that training need not run it."""

import argparse

from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Write what an ASR teacher says of each frame of whole utterances."
            " sv_distill_train reads it with --teacher_posteriors; temperature and"
            " top_k must be those of its kd_conf. A second of audio takes 8 x K + 4"
            " bytes a frame."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--asr", required=True, metavar="SOURCE", help="the ASR teacher"
    )
    parser.add_argument(
        "--wav_scp", required=True, metavar="F", help="the training's audio"
    )
    parser.add_argument(
        "--output_dir", required=True, metavar="D", help="the folder to make"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="softens the posteriors"
    )
    parser.add_argument("--top_k", type=int, default=32, help="classes kept of a frame")
    parser.add_argument("--ngpu", type=int, default=0, help="1: on a GPU")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the posteriors."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.asr import load_asr_bundle
    from espnet2_sv.distill.kd_loss import DistillationLoss
    from espnet2_sv.distill.posteriors import write_posteriors
    from espnet2_sv.distill.teacher import Teacher
    from espnet2_sv.models.load import check_device

    device = "cuda" if args.ngpu else "cpu"
    check_device(device)
    teacher = Teacher(load_asr_bundle(args.asr)).eval().to(device)
    loss = DistillationLoss(args.temperature, args.top_k)
    write_posteriors(teacher, args.wav_scp, args.output_dir, loss)


if __name__ == "__main__":
    run(main)
