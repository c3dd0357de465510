#!/usr/bin/env python3
"""Embed every utterance of a wav.scp."""

import argparse

from espnet2.utils.types import str2bool

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError


def get_parser(several: bool = True) -> argparse.ArgumentParser:
    """Return the command-line parser.

    Args:
        several: Whether several lists can be given, and a file for the model's
            description.
    """
    nargs = "+" if several else None
    parser = argparse.ArgumentParser(
        description=(
            "Embed every utterance of a wav.scp. Writes xvector.ark, xvector.scp,"
            " utt2dur and failed; run again after a kill to go on."
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
        "--wav_scp",
        required=True,
        nargs=nargs,
        metavar="F",
        help="utterance and audio a line",
    )
    parser.add_argument(
        "--output_dir",
        required=True,
        nargs=nargs,
        metavar="D",
        help="where to write" + (", one for each list" if several else ""),
    )
    if several:
        parser.add_argument(
            "--system",
            metavar="F",
            help="also write what sv_describe tells of the model: JSON",
        )
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
        "--max_seconds",
        type=float,
        default=120.0,
        help=(
            "a longer recording is embedded in equal pieces, whose length-normalised"
            " embeddings are averaged, weighted by duration"
        ),
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float16", "bfloat16"),
        help=(
            "float16 and bfloat16 are mixed precision: faster on a GPU, not exact to"
            " the batch"
        ),
    )
    parser.add_argument(
        "--skip_bad",
        type=str2bool,
        default=False,
        help="go on after a recording that cannot be embedded, and list it in D/failed",
    )
    parser.add_argument(
        "--allow_pipes",
        type=str2bool,
        default=False,
        help="run the commands in the wav.scp",
    )
    parser.add_argument(
        "--resume",
        type=str2bool,
        default=True,
        help="use what an earlier run has finished",
    )
    parser.add_argument(
        "--shard",
        default=None,
        metavar="I/N",
        help="do the I-th of N shares, for cluster jobs; a last call without it merges",
    )
    parser.add_argument(
        "--shard_size",
        type=int,
        default=None,
        help=(
            "utterances that are kept together, by default 16 to 256; a kill costs at"
            " most this for each process"
        ),
    )
    parser.add_argument(
        "--model_file",
        default=None,
        metavar="F",
        help="weights; by default the model's best",
    )
    return parser


def main(cmd=None):
    """Embed as the command line says."""
    args = vars(get_parser().parse_args(cmd))
    wav_scps, output_dirs = args.pop("wav_scp"), args.pop("output_dir")
    if len(wav_scps) != len(output_dirs):
        raise SVError(
            f"--output_dir: give one folder for each of {len(wav_scps)} --wav_scp"
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
