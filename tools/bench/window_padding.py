#!/usr/bin/env python3
"""Measure what padding to OWSM's window of 30 s changes in an embedding.

ESPnet's recogniser of an encoder-decoder OWSM model pads speech with silence to 30 s.
Joint recognition has to, and pools the frames of the speech only; training and sv_embed
do not pad. Each recording is encoded both ways. Compared are the outputs of the blocks
in the frames of the speech (norm of the difference over norm), and embeddings. How far
apart the embeddings of two recordings of different speakers are is the yardstick.

    python tools/bench/window_padding.py                   # random weights, a minute
    python tools/bench/window_padding.py --model SOURCE    # an adaptor on OWSM
    python tools/bench/window_padding.py --asr SOURCE      # OWSM and a random adaptor

Random weights show what the window costs, but not what it does to a trained model:
their attention is spread evenly over all frames, the silence included.
"""

import argparse
import importlib.util
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import torch
from networks import RATE, in_turn, machine, median_ratio, owsm_settings, parser

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.task import S2T
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.data.audio import read_audio
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.models.load import load_speaker_model

WINDOW = 30.0  # seconds
MEL_BINS = 80
SIZES = {"base": (6, 384), "small": (9, 768), "medium": (18, 1024)}


def main() -> None:
    """Print a Markdown table."""
    options = parser(__doc__.splitlines()[0], repeats=3)
    options.add_argument("--model", help="SOURCE of a speaker adaptor on OWSM")
    options.add_argument("--asr", help="SOURCE of an OWSM model")
    options.add_argument(
        "--size", default="base", choices=SIZES, help="OWSM v3.1, with random weights"
    )
    options.add_argument("--seconds", nargs="+", type=float, default=[3.0, 10.0, 20.0])
    options.add_argument(
        "--audio",
        nargs="+",
        type=Path,
        help="recordings of as many speakers, repeated to each length (default: AN4)",
    )
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    waves = [torch.from_numpy(read_audio(path)) for path in args.audio or an4()]
    backbone, head, name = network(args, waves)
    print(
        f"{name}, {len(waves)} recordings, padded to {WINDOW:g} s;"
        f" {machine(args.threads)}; means, and"
        f" processor times as medians of {args.repeats}\n"
    )
    print(
        "| speech s | difference of block 1 | middle block | last block | cosine of the"
        " embeddings | between speakers | time, padded over not |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for seconds in args.seconds:
        print(measure(backbone, head, waves, seconds, args.repeats))


def network(
    args: argparse.Namespace, waves: list[torch.Tensor]
) -> tuple[torch.nn.Module, torch.nn.Module, str]:
    """Return an encoder, the head on its blocks, and a description of both."""
    if args.model:
        model, _ = load_speaker_model(args.model)
        return model.backbone, model.head, args.model
    torch.manual_seed(0)
    if args.asr:
        bundle = load_asr_bundle(args.asr)
        if bundle.task is not S2T:
            sys.exit(
                f"--asr {args.asr}: ESPnet does not pad what this model recognises"
            )
        backbone = bundle.backbone()
        name = f"{args.asr} with a random adaptor"
    else:
        backbone = random_owsm(*SIZES[args.size], waves)
        name = f"OWSM v3.1 {args.size} with random weights"
    dim = backbone.encoder.output_size()
    head = SpeakerAdaptor(len(backbone.encoder.encoders), dim)
    return backbone.eval(), head.eval(), name


def random_owsm(num_blocks: int, dim: int, waves: list[torch.Tensor]) -> BlockBackbone:
    """Build the encoder of an OWSM v3.1 model, with statistics of the waves."""
    settings = owsm_settings(num_blocks, dim)
    backbone = build_backbone(
        settings | {"normalize": "stored_mvn", "normalize_conf": {"dim": MEL_BINS}}
    )
    assert isinstance(backbone, BlockBackbone)
    feats, _ = backbone.front_end.features(
        torch.cat(waves)[None], torch.tensor([sum(map(len, waves))])
    )
    backbone.normalize.mean.copy_(feats[0].mean(0))
    backbone.normalize.std.copy_(feats[0].std(0))
    return backbone


def an4() -> list[Path]:
    """Unpack a recording of each of the five speakers in the espnet wheel."""
    package = importlib.util.find_spec("egs3.mini_an4")
    assert package is not None and package.submodule_search_locations
    folder = Path(tempfile.mkdtemp())
    archive = Path(package.submodule_search_locations[0])
    with tarfile.open(archive / "esp2_asr/downloads.tar.gz") as members:
        members.extractall(folder, filter="data")
    by_speaker = {path.parent: path for path in sorted(folder.rglob("*.sph"))}
    return list(by_speaker.values())


@torch.no_grad()
def measure(
    backbone: torch.nn.Module,
    head: torch.nn.Module,
    waves: list[torch.Tensor],
    seconds: float,
    repeats: int,
) -> str:
    """Return a row of the table for one length of speech."""
    samples = round(seconds * RATE)
    silence = round(WINDOW * RATE) - samples
    lengths, window = torch.tensor([samples]), torch.tensor([samples + silence])
    differences, alone, in_window = [], [], []
    for wave in waves:
        speech = wave.repeat(samples // len(wave) + 1)[None, :samples]
        padded = torch.nn.functional.pad(speech, (0, silence))
        blocks, frames = backbone(speech, lengths)
        others, _ = backbone(padded, window)
        others = [block[:, : int(frames[0])] for block in others]
        differences.append(
            [
                float((other - block).norm() / block.norm())
                for block, other in zip(blocks, others, strict=True)
            ]
        )
        alone.append(head(blocks, frames)[0])
        in_window.append(head(others, frames)[0])
    times = in_turn(
        {
            "padded": torch.no_grad()(lambda: backbone(padded, window)),
            "not": torch.no_grad()(lambda: backbone(speech, lengths)),
        },
        repeats,
        clock=time.process_time,
    )
    by_block = torch.tensor(differences).mean(0).tolist()
    unit = torch.nn.functional.normalize(torch.stack(alone))
    cosines = torch.nn.functional.cosine_similarity(unit, torch.stack(in_window))
    between = (unit @ unit.T)[torch.triu(torch.ones(len(unit), len(unit)), 1) > 0]
    return (
        f"| {seconds:g} | {by_block[0]:.3f} | {by_block[len(by_block) // 2]:.3f} |"
        f" {by_block[-1]:.3f} | {statistics.mean(cosines.tolist()):.4f} |"
        f" {statistics.mean(between.tolist()):.4f} |"
        f" {median_ratio(times['padded'], times['not']):.1f} |"
    )


if __name__ == "__main__":
    main()
