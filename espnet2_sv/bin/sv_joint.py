#!/usr/bin/env python3
"""Transcribe and embed utterances from one encoder pass."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.bin.sv_embed import OUTPUTS, add_embedding_options

# Options of ESPnet's asr_inference and s2t_inference that are options here;
# --decode_config takes all.
DECODING: dict[str, Callable[[str], object]] = {
    "beam_size": options.positive_int,
    "ctc_weight": options.finite_float,
    "lm_weight": options.finite_float,
    "penalty": options.finite_float,
    "maxlenratio": options.finite_float,
    "minlenratio": options.finite_float,
    "lang_sym": str,
    "task_sym": str,
    "lm_train_config": str,
    "lm_file": str,
}
# Entries of decoding configurations that do not change the result.
NOT_DECODING = ("batch_size", "dtype", "log_level", "ngpu", "num_workers", "seed")


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Transcribe every utterance of a wav.scp and embed its speaker, from one pass"
        " of the ASR model's encoder. Writes text, xvector.ark, xvector.scp, utt2dur"
        " and failed. Run it again after an interruption to continue."
    )
    add_embedding_options(parser, joint=True)
    group = parser.add_argument_group("decoding")
    group.add_argument(
        "--decode",
        choices=("greedy", "beam"),
        help=(
            "greedy: best CTC token of each frame; beam: ESPnet's beam search with the"
            " ASR model's decoder, or the search of a transducer. Default: beam for a"
            " transducer, else greedy"
        ),
    )
    group.add_argument(
        "--decode_config",
        metavar="YAML",
        help="ESPnet decoding configuration for beam; the options below override it",
    )
    for name, kind in DECODING.items():
        text = "As in ESPnet, for beam"
        if name in ("lang_sym", "task_sym"):
            text += "; of OWSM-CTC also for greedy, by default as in the training"
        group.add_argument(f"--{name}", type=kind, help=text)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Transcribe and embed the utterances."""
    parsed = get_parser().parse_args(cmd)
    outputs = [Path(parsed.output_dir) / name for name in OUTPUTS]
    inputs = ("wav_scp", "model_file", "decode_config")
    options.keep_inputs(parsed, inputs, outputs)
    args = vars(parsed)
    from espnet2_sv.inference.embedder import recognise_wav_scp
    from espnet2_sv.zoo.checkpoint import load_config

    # ESPnet logs every utterance that it decodes
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
