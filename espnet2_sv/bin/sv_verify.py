#!/usr/bin/env python3
"""Compare recordings: do they have the same speaker?"""

import argparse
import json

from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Compare recordings and print one JSON object: score (cosine), llr (null"
            " without calibration), decision (true: same speaker; null without"
            " threshold), threshold, threshold_on (score or llr)."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="SOURCE",
        help=(
            "speaker model: a zoo or Hub tag, a packed zip, an unpacked or an exp"
            " directory"
        ),
    )
    parser.add_argument(
        "--asr",
        default=None,
        metavar="SOURCE",
        help=(
            "ASR model that a speaker adaptor reads, if neither its package holds it"
            " nor is it where training had it"
        ),
    )
    parser.add_argument(
        "--enroll",
        required=True,
        nargs="+",
        metavar="WAV",
        help="recordings of one speaker",
    )
    parser.add_argument(
        "--test", required=True, metavar="WAV", help="the recording in question"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=None,
        help=(
            "cosine from which the speaker is the same; by default the model's own"
            " threshold"
        ),
    )
    parser.add_argument(
        "--p_target",
        type=float,
        default=0.5,
        help="prior probability of the same speaker, where the model has a calibration",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    return parser


def main(cmd=None):
    """Compare as the command line says."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.inference.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.from_pretrained(
        args.model,
        threshold=args.threshold,
        p_target=args.p_target,
        device=args.device,
        asr=args.asr,
    )
    print(json.dumps(verifier.verify(args.enroll, args.test)))


if __name__ == "__main__":
    run(main)
