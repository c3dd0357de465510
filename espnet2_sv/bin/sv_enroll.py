#!/usr/bin/env python3
"""Enrol speakers in a store, or remove or list them."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError

EXTRACTION = (
    "asr",
    "ngpu",
    "nj",
    "num_workers",
    "batch_seconds",
    "skip_bad",
    "allow_pipes",
    "channel",
    "vad",
)


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Enrol speakers in a store: one by --name and --audio, or many by --wav_scp and"
        " --utt2spk. Recordings of a speaker who is enrolled already are added. Several"
        " processes may change one store."
    )
    options.add_model(parser)
    options.add_speakers(parser)
    parser.add_argument("--name", metavar="NAME", help="Speaker of --audio")
    parser.add_argument(
        "--audio", nargs="+", metavar="AUDIO", help="Recordings of the speaker"
    )
    parser.add_argument(
        "--wav_scp", metavar="FILE", help="Kaldi wav.scp, recordings of many speakers"
    )
    parser.add_argument("--utt2spk", metavar="FILE", help="The speakers of --wav_scp")
    options.add_switch(
        parser,
        "--skip_bad",
        "Leave out recordings of --wav_scp that cannot be used, and list them in"
        " STORE.failed",
    )
    options.add_switch(
        parser,
        "--replace",
        "Forget the recordings that these speakers were enrolled with before",
    )
    parser.add_argument(
        "--remove", nargs="+", default=[], metavar="NAME", help="Speakers to remove"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="Print all speakers: name, recordings and seconds of speech",
    )
    options.add_verification(parser)
    options.add_extraction(parser.add_argument_group("how --wav_scp is embedded"))
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Change the store and say what it holds."""
    args = get_parser().parse_args(cmd)
    for one, other in (("name", "audio"), ("wav_scp", "utt2spk")):
        if (getattr(args, one) is None) != (getattr(args, other) is None):
            raise SVError(f"--{one} and --{other} belong together; give both")
    changes = bool(args.audio or args.wav_scp or args.remove)
    if not changes and not args.list:
        raise SVError(
            "nothing to do; give --name and --audio, --wav_scp and --utt2spk, --remove"
            " or --list"
        )
    options.keep_inputs(args, ("audio", "wav_scp", "utt2spk"), [args.speakers])
    if not (args.audio or args.wav_scp):
        options.require_files(args, "speakers")
    from espnet2_sv.inference.enrolment import enroll_list
    from espnet2_sv.inference.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.from_pretrained(
        args.model, **options.verification_options(args)
    )
    verifier.load(args.speakers, missing_ok=True)
    for name in args.remove:
        verifier.remove(name)
    if args.audio:
        verifier.enroll(args.name, args.audio, args.replace)
    if args.wav_scp:
        enroll_list(
            verifier,
            args.model,
            args.speakers,
            args.wav_scp,
            args.utt2spk,
            replace=args.replace,
            **{name: getattr(args, name) for name in EXTRACTION},
        )
    elif changes:
        verifier.save(args.speakers)
    if args.list:
        for name in sorted(verifier.speakers):
            speaker = verifier.speakers[name]
            print(f"{name}\t{speaker.recordings}\t{speaker.speech:.1f}")
    else:
        count = len(verifier.speakers)
        print(f"{args.speakers}: {count} speaker{'s' * (count != 1)}")


if __name__ == "__main__":
    run(main)
