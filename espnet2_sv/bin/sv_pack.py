#!/usr/bin/env python3
"""Pack a trained speaker model as a model-zoo archive."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Pack a trained speaker model as a model-zoo archive: config, weights, labels,"
        " results and a model card. Paths of this machine are removed."
    )
    parser.add_argument(
        "--exp", required=True, metavar="DIR", help="Directory of the training run"
    )
    options.add_output(parser, "Archive to write (.zip)", "--outpath")
    parser.add_argument(
        "--model_file", metavar="FILE", help="Weights; default: the best checkpoint"
    )
    parser.add_argument(
        "--calibration", metavar="FILE", help="calibration.json from sv_calibrate"
    )
    parser.add_argument(
        "--format",
        choices=("sv", "joint", "adaptor"),
        default="sv",
        help=(
            "How an adaptor is packed. sv: with its ASR model; joint: the same, and"
            " ESPnet's own Speech2Text can load the ASR model; adaptor: without the ASR"
            " model, which --asr names when the adaptor is used"
        ),
    )
    options.add_adaptor_asr(parser)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="FILE",
        help=(
            "Further file or directory to pack, e.g. RESULTS.md; can be given several"
            " times"
        ),
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Pack the model and list the archive."""
    args = get_parser().parse_args(cmd)
    options.keep_inputs(args, ("model_file", "calibration", "option"), [args.output])
    from espnet2_sv.packaging.pack import pack_model

    names = pack_model(
        args.exp,
        args.output,
        model_file=args.model_file,
        calibration=args.calibration,
        options=args.option,
        package_format=args.format,
        asr=args.asr,
    )
    for name in names:
        print(name)
    print(f"packed {len(names)} files into {args.output}")


if __name__ == "__main__":
    run(main)
