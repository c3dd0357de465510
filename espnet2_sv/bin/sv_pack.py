#!/usr/bin/env python3
"""Pack a trained speaker model as a model-zoo archive."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run

INPUTS = ("model_file", "calibration", "option", "metrics")


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
    add_card(parser)
    return parser


def add_card(parser: argparse.ArgumentParser) -> None:
    """Add what the model card says beyond the configuration and the results."""
    card = parser.add_argument_group(
        "model card", "What is not given and not recorded is left out of the card."
    )
    card.add_argument(
        "--license",
        metavar="ID",
        help=(
            "Licence by the Hub's identifier, e.g. cc-by-4.0; it follows from those of"
            " the training data and of the pretrained ASR model"
        ),
    )
    card.add_argument(
        "--license_name",
        metavar="NAME",
        help="Name of the licence, for --license other",
    )
    card.add_argument(
        "--license_link", metavar="URL", help="Its text, for --license other"
    )
    card.add_argument(
        "--language",
        nargs="+",
        default=[],
        metavar="CODE",
        help="ISO 639 codes of the training speech, e.g. en",
    )
    card.add_argument(
        "--dataset",
        nargs="+",
        default=[],
        metavar="ORG/NAME",
        help="Hub datasets of the training data",
    )
    card.add_argument(
        "--base_model",
        metavar="ORG/NAME",
        help=(
            "Hub model that training started from; default: the pretrained ASR model,"
            " if it was given by its tag"
        ),
    )
    card.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="FILE",
        help=(
            "SET/KIND/metrics.json of the error rates; default: those in the inference"
            " folder of the training run, if its best weights are packed"
        ),
    )


def main(cmd: list[str] | None = None) -> None:
    """Pack the model and list the archive."""
    args = get_parser().parse_args(cmd)
    options.keep_inputs(args, INPUTS, [args.output])
    from espnet2_sv.packaging.card_data import CardDetails
    from espnet2_sv.packaging.pack import pack_model

    names = pack_model(
        args.exp,
        args.output,
        model_file=args.model_file,
        calibration=args.calibration,
        options=args.option,
        package_format=args.format,
        asr=args.asr,
        details=CardDetails(
            license=args.license,
            license_name=args.license_name,
            license_link=args.license_link,
            language=args.language,
            datasets=args.dataset,
            base_model=args.base_model,
            metrics=args.metrics,
        ),
    )
    for name in names:
        print(name)
    print(f"packed {len(names)} files into {args.output}")


if __name__ == "__main__":
    run(main)
