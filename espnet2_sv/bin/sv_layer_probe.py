#!/usr/bin/env python3
"""Measure how well each ASR layer separates speakers."""

import argparse
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Equal error rate of every block of an ASR encoder (mean and standard deviation"
        " over frames, cosine), or of every layer of a speaker adaptor. Nothing is"
        " trained. Writes layer_probe.md, layer_probe.json and layer_probe.png."
    )
    parser.add_argument(
        "--asr",
        metavar="SOURCE",
        help=f"ASR model, or the ASR model of the adaptor in --model: {options.SOURCE}",
    )
    parser.add_argument(
        "--model",
        metavar="SOURCE",
        help=f"Speaker model to probe instead: {options.SOURCE}",
    )
    options.add_wav_scp(parser)
    options.add_trials(parser)
    options.add_output_dir(parser, "Directory to write")
    parser.add_argument(
        "--norm_wav_scp",
        metavar="FILE",
        help=(
            "Other recordings, whose mean and deviation standardise the statistics"
            " first"
        ),
    )
    parser.add_argument(
        "--utt2spk",
        nargs="+",
        metavar="FILE",
        help="Speakers; the bootstrap then resamples speakers instead of trials",
    )
    parser.add_argument(
        "--title",
        help="Heading and figure title; default: names of the model and the trial list",
    )
    options.add_resampling(parser)
    options.add_extraction(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Probe the layers and print the table."""
    args = get_parser().parse_args(cmd)
    outputs = [
        Path(args.output_dir) / f"layer_probe.{e}" for e in ("md", "json", "png")
    ]
    options.keep_inputs(args, ("wav_scp", "trials", "norm_wav_scp", "utt2spk"), outputs)
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
