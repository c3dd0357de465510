#!/usr/bin/env python3
"""Find out which enrolled speaker is heard, if any."""

import argparse
import json

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Compare a recording with all speakers of a store and print one JSON object:"
        " decision (a name, unknown, or null without a threshold), speakers (name,"
        " score and llr, best first), threshold, threshold_on (score or llr), note"
        " (what the threshold stands for), enrolled, speech_seconds. For several"
        " recordings, one object per line."
    )
    options.add_model(parser)
    options.add_speakers(parser)
    parser.add_argument(
        "--audio",
        nargs="+",
        required=True,
        metavar="AUDIO",
        help="Recordings, each of one speaker",
    )
    parser.add_argument(
        "--top_k",
        type=options.positive_int,
        default=5,
        metavar="N",
        help="Speakers to print, at most",
    )
    parser.add_argument(
        "--false_accept_rate",
        type=options.probability,
        metavar="P",
        help=(
            "Highest probability that somebody who is not enrolled is taken for any"
            " enrolled speaker; 0.01 by default for a model with a calibration"
        ),
    )
    parser.add_argument(
        "--threshold",
        type=options.finite_float,
        help="Cosine score at or above which the best speaker is accepted, instead",
    )
    options.add_verification(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Identify the speaker of each recording and print the results."""
    args = get_parser().parse_args(cmd)
    options.require_files(args, "speakers", "audio")
    from espnet2_sv.inference.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.from_pretrained(
        args.model, threshold=args.threshold, **options.verification_options(args)
    )
    verifier.load(args.speakers)
    for audio in args.audio:
        found = verifier.identify(audio, args.top_k, args.false_accept_rate)
        print(json.dumps({"audio": audio} | found.to_dict()), flush=True)


if __name__ == "__main__":
    run(main)
