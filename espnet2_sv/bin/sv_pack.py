#!/usr/bin/env python3
"""Pack a trained speaker model as a model-zoo archive."""

import argparse

from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Pack a trained speaker model as a model-zoo archive: config, weights,"
            " labels, results and a model card. Paths of this machine are left out."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--exp", required=True, metavar="DIR", help="directory of the training run"
    )
    parser.add_argument(
        "--outpath", required=True, metavar="ZIP", help="archive to write"
    )
    parser.add_argument(
        "--model_file",
        default=None,
        metavar="F",
        help="weights; by default the run's best",
    )
    parser.add_argument(
        "--calibration",
        default=None,
        metavar="JSON",
        help="calibration.json of sv_calibrate",
    )
    parser.add_argument(
        "--format",
        choices=("sv", "joint", "adaptor"),
        default="sv",
        help=(
            "of an adaptor: sv holds the ASR model, too; so does joint, from which"
            " ESPnet's own Speech2Text loads the ASR model; adaptor is the adaptor"
            " alone, to be attached to its ASR model with --asr"
        ),
    )
    parser.add_argument(
        "--asr",
        default=None,
        metavar="SOURCE",
        help="ASR model that an adaptor reads, if it is not where training had it",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="F",
        help=(
            "a further file or directory to pack, e.g. RESULTS.md; can be given several"
            " times"
        ),
    )
    return parser


def main(cmd=None):
    """Pack as the command line says."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.packaging.pack import pack_model

    names = pack_model(
        args.exp,
        args.outpath,
        model_file=args.model_file,
        calibration=args.calibration,
        options=args.option,
        package_format=args.format,
        asr=args.asr,
    )
    for name in names:
        print(name)
    print(f"packed {len(names)} files into {args.outpath}")


if __name__ == "__main__":
    run(main)
