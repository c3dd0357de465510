#!/usr/bin/env python3
"""Decide whether recordings have the same speaker."""

import argparse
import json

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Compare recordings and print one JSON object: score (cosine), llr (null"
        " without a calibration), decision (true: same speaker; null without a"
        " threshold), threshold, threshold_on (score or llr), enroll_speech and"
        " test_speech (seconds of speech; null if not looked for)."
    )
    options.add_model(parser)
    parser.add_argument(
        "--enroll",
        required=True,
        nargs="+",
        metavar="AUDIO",
        help="Recordings of one speaker; with --speakers, the name of one",
    )
    parser.add_argument(
        "--test", required=True, metavar="AUDIO", help="Recording to compare with them"
    )
    parser.add_argument(
        "--threshold",
        type=options.finite_float,
        help=(
            "Cosine score at or above which the speaker is the same; overrides the"
            " calibrated threshold of the model"
        ),
    )
    parser.add_argument(
        "--p_target",
        type=options.probability,
        default=0.5,
        help="Prior probability of the same speaker, for models with a calibration",
    )
    options.add_speakers(parser, required=False)
    options.add_verification(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Compare the recordings and print the result."""
    args = get_parser().parse_args(cmd)
    options.require_files(args, "test", "speakers")
    enrolment = args.enroll
    if args.speakers is None:
        options.require_files(args, "enroll")
    elif len(enrolment) == 1:
        [enrolment] = enrolment
    from espnet2_sv.inference.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.from_pretrained(
        args.model,
        threshold=args.threshold,
        p_target=args.p_target,
        **options.verification_options(args),
    )
    if args.speakers is not None:
        verifier.load(args.speakers)
    print(json.dumps(verifier.verify(enrolment, args.test)))


if __name__ == "__main__":
    run(main)
