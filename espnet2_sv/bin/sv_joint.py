#!/usr/bin/env python3
"""Transcribe and embed every utterance of a wav.scp, from one encoder pass."""

import argparse
import logging

from espnet2_sv.bin import sv_embed
from espnet2_sv.bin.cli import run

DESCRIPTION = """\
Transcribe every utterance of a wav.scp and embed its speaker, from one pass of the ASR model's
encoder. Writes text, xvector.ark, xvector.scp, utt2dur and failed; run again after a kill to go on.
"""
# Options of ESPnet's asr_inference that have an option here; others go into
# --decode_config.
DECODING = {
    "beam_size": int,
    "ctc_weight": float,
    "lm_weight": float,
    "penalty": float,
    "maxlenratio": float,
    "minlenratio": float,
    "lm_train_config": str,
    "lm_file": str,
}
# Entries of decoding configurations that are about how to run, and not about the
# result.
NOT_DECODING = ("batch_size", "dtype", "log_level", "ngpu", "num_workers", "seed")


def get_parser() -> argparse.ArgumentParser:
    """Return the command-line parser: sv_embed's options and those of decoding."""
    parser = sv_embed.get_parser(several=False)
    parser.description = DESCRIPTION
    group = parser.add_argument_group("decoding")
    group.add_argument(
        "--decode",
        choices=("greedy", "beam"),
        default=None,
        help=(
            "greedy: the best token of each frame (CTC); beam: ESPnet's beam search"
            " with the ASR model's decoder, or a transducer's own search; by default"
            " greedy, for a transducer beam"
        ),
    )
    group.add_argument(
        "--decode_config",
        default=None,
        metavar="YAML",
        help="ESPnet decoding configuration for beam; the options below go before it",
    )
    for name, kind in DECODING.items():
        group.add_argument(
            f"--{name}", type=kind, default=None, help="as in ESPnet, for beam"
        )
    return parser


def main(cmd=None):
    """Transcribe and embed as the command line says."""
    args = vars(get_parser().parse_args(cmd))
    from espnet2_sv.inference.embedder import recognise_wav_scp
    from espnet2_sv.zoo.checkpoint import load_config

    # ESPnet tells of every utterance that it decodes
    logging.getLogger("espnet2").setLevel(logging.WARNING)
    path = args.pop("decode_config")
    decoding = load_config(path) if path else {}
    decoding = {
        name: value for name, value in decoding.items() if name not in NOT_DECODING
    }
    given = {name: args.pop(name) for name in DECODING}
    decoding |= {name: value for name, value in given.items() if value is not None}
    report = recognise_wav_scp(
        args.pop("model"),
        args.pop("wav_scp"),
        args.pop("output_dir"),
        decoding=decoding,
        **args,
    )
    if report.embedded is not None:
        print(
            f"{report.embedded} recognised, {report.failed} failed, {report.new} in"
            " this run"
        )


if __name__ == "__main__":
    run(main)
