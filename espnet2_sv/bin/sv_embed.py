#!/usr/bin/env python3
"""Embed every utterance of a wav.scp."""

import argparse
from pathlib import Path

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError

OUTPUTS = (
    "xvector.ark",
    "xvector.scp",
    "utt2dur",
    "utt2speech",
    "failed",
    "text",
)


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        "Embed every utterance of a wav.scp. Writes xvector.ark, xvector.scp, utt2dur,"
        " failed and, with silero-vad, utt2speech. Run it again after an interruption"
        " to continue."
    )
    add_embedding_options(parser, several=True)
    options.add_config(parser)
    parser.add_argument(
        "--system",
        metavar="FILE",
        help="Also write a description of the model (JSON), as sv_describe does",
    )
    return parser


def add_embedding_options(
    parser: argparse.ArgumentParser, several: bool = False, joint: bool = False
) -> None:
    """Add the options of extracting embeddings.

    Args:
        parser: The parser of sv_embed or sv_joint.
        several: Whether several lists can be given.
        joint: Whether they are recognised as well.
    """
    options.add_model(parser)
    options.add_wav_scp(parser, several)
    options.add_output_dir(
        parser,
        "Directory to write" + ", one for each of --wav_scp" * several,
        several=several,
    )
    options.add_extraction(parser)
    options.add_channel(parser)
    options.add_vad(parser)
    parser.add_argument(
        "--max_seconds",
        type=options.positive_float,
        help=(
            f"Longer recordings are {'recognised and ' * joint}embedded in equal"
            " pieces of at most this many seconds"
            f"{'' if joint else ', above six times as many in pieces of half that'};"
            " the length-normalised embeddings of the pieces are averaged, weighted by"
            f" duration (default: {120 if joint else 10})"
        ),
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float16", "bfloat16"),
        help=(
            "float16 and bfloat16 use mixed precision: faster on a GPU, but embeddings"
            " then depend slightly on the batch"
        ),
    )
    options.add_switch(
        parser,
        "--skip_bad",
        "Skip recordings that cannot be embedded; DIR/failed lists them",
    )
    options.add_switch(
        parser, "--resume", "Keep the finished part of an earlier run", default=True
    )
    options.add_shard(
        parser,
        "Process the I-th of N splits, for cluster jobs; a final call without it"
        " merges them",
    )
    parser.add_argument(
        "--shard_size",
        type=options.positive_int,
        help=(
            "Utterances written at a time, 16 to 256 by default; an interruption loses"
            " at most this many per process"
        ),
    )
    parser.add_argument(
        "--model_file",
        metavar="FILE",
        help="Weights; default: the model's best checkpoint",
    )


def main(cmd: list[str] | None = None) -> None:
    """Embed the utterances."""
    args = vars(options.parse_with_config(get_parser(), cmd))
    wav_scps, output_dirs = args.pop("wav_scp"), args.pop("output_dir")
    config = args.pop("config")
    if len(wav_scps) != len(output_dirs):
        raise SVError(
            f"--output_dir: give one for each of the {len(wav_scps)} --wav_scp"
        )
    outputs = [Path(folder) / name for folder in set(output_dirs) for name in OUTPUTS]
    options.keep_inputs(
        argparse.Namespace(
            wav_scp=wav_scps,
            model_file=args["model_file"],
            config=config,
            model=args["model"],
        ),
        ("wav_scp", "model_file", "config"),
        [*outputs, args["system"]],
    )
    from espnet2_sv.inference.embedder import embed_wav_scps

    lists = list(zip(wav_scps, output_dirs, strict=True))
    for report in embed_wav_scps(args.pop("model"), lists, **args):
        if report.embedded is not None:
            print(
                f"{report.embedded} embedded, {report.failed} failed, {report.new} in"
                " this run"
            )


if __name__ == "__main__":
    run(main)
