#!/usr/bin/env python3
"""Export a speaker model to ONNX."""

import argparse
from dataclasses import asdict

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import print_summary, run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Write a speaker model as one ONNX file: waveform (B, S) and lengths (B,) in,"
        " embedding (B, E) out. Its embeddings are compared with the model's before the"
        " file appears. Needs the packages of espnet2_sv[export]."
    )
    options.add_model(parser)
    options.add_output(parser, "File to write (.onnx)")
    parser.add_argument(
        "--quantize",
        choices=("int8",),
        help=(
            "int8: weights of linear layers are 8-bit integers, a smaller and faster"
            " file of which the embeddings differ a little"
        ),
    )
    options.add_json(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Export the model and print what was measured."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.packaging.export import export_onnx

    report = export_onnx(args.model, args.output, asr=args.asr, quantize=args.quantize)
    measured = asdict(report)
    if not args.quantize:
        measured = {k: v for k, v in measured.items() if not k.startswith("int8")}
    print_summary(measured, args.json)


if __name__ == "__main__":
    run(main)
