#!/usr/bin/env python3
"""Tell how well each layer of an ASR encoder or of a speaker adaptor knows speakers."""

import argparse
from pathlib import Path

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description=(
            "Equal error rate of every block of an ASR model's encoder (mean and"
            " standard deviation of its frames, cosine), or of every stream of a"
            " speaker adaptor. Nothing is trained. Writes layer_probe.md,"
            " layer_probe.json and layer_probe.png."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--asr", metavar="SOURCE", help="ASR model, also that of an adaptor"
    )
    parser.add_argument(
        "--model", metavar="SOURCE", help="speaker model, to probe instead"
    )
    parser.add_argument(
        "--wav_scp", required=True, metavar="F", help="utterance and audio a line"
    )
    parser.add_argument(
        "--trials",
        required=True,
        metavar="F",
        help="enroll_utt test_utt target|nontarget",
    )
    parser.add_argument(
        "--output_dir", required=True, metavar="D", help="where to write"
    )
    parser.add_argument(
        "--norm_wav_scp",
        metavar="F",
        help=(
            "other recordings, by whose mean and deviation the statistics are"
            " standardised first"
        ),
    )
    parser.add_argument(
        "--utt2spk",
        nargs="+",
        metavar="F",
        help="speakers; intervals then resample speakers",
    )
    parser.add_argument(
        "--title", help="heading and picture title; default: the names given"
    )
    parser.add_argument(
        "--bootstrap_samples",
        type=int,
        default=1000,
        help="resamplings; 0 for no intervals",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument(
        "--ngpu", type=int, default=0, help="GPUs, one process each; 0: the CPU"
    )
    parser.add_argument("--nj", type=int, default=1, help="processes on the CPU")
    parser.add_argument(
        "--num_workers", type=int, default=2, help="threads a process that read audio"
    )
    parser.add_argument(
        "--batch_seconds",
        type=float,
        default=240.0,
        help="padded length of a batch, in seconds",
    )
    parser.add_argument(
        "--allow_pipes",
        type=str2bool,
        default=False,
        help="run the commands in the wav.scp",
    )
    return parser


def main(cmd=None):
    """Probe as the command line says."""
    args = get_parser().parse_args(cmd)
    from espnet2_sv.inference.layer_probe import probe_layers, write_report
    from espnet2_sv.scoring.intervals import Resampling

    results = probe_layers(
        args.wav_scp,
        args.trials,
        args.output_dir,
        asr=args.asr,
        model=args.model,
        norm_wav_scp=args.norm_wav_scp,
        utt2spk=args.utt2spk,
        resampling=Resampling(args.bootstrap_samples, args.seed),
        ngpu=args.ngpu,
        nj=args.nj,
        num_workers=args.num_workers,
        batch_seconds=args.batch_seconds,
        allow_pipes=args.allow_pipes,
    )
    names = [Path(source).name for source in (args.model or args.asr, args.trials)]
    title = args.title or "Layers of {} on {}".format(*names)
    print(write_report(results, Path(args.output_dir), title))


if __name__ == "__main__":
    run(main)
