#!/usr/bin/env python3
"""Measure the cost of a speaker embedding on top of an ASR encoder pass.

python tools/bench/adaptor_cost.py    # about a minute
"""

import statistics

import torch
from networks import asr_bundle, in_turn, machine, median_ratio, parser, speech
from torch.utils.flop_counter import FlopCounterMode

from espnet2_sv.backbones.blocks import capture_blocks
from espnet2_sv.heads.adaptor import SpeakerAdaptor


def main() -> None:
    """Print a Markdown table of multiply-accumulates (MAC) and times."""
    options = parser(__doc__.splitlines()[0], repeats=15)
    options.add_argument(
        "--seconds", type=float, default=10.0, help="length of the audio"
    )
    options.add_argument("--sizes", nargs="+", default=["18x512", "12x512", "12x256"])
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.seconds:g} s of audio; {machine(args.threads)}; medians of"
        f" {args.repeats}\n"
    )
    print(
        "| encoder | adaptor parameters | encoder MAC | with adaptor | increase |"
        " encoder s | joint s | increase |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for size in args.sizes:
        print(measure(*map(int, size.split("x")), args.seconds, args.repeats))


def measure(num_blocks: int, dim: int, seconds: float, repeats: int) -> str:
    """Return a row of the table for one encoder size."""
    bundle = asr_bundle(num_blocks, dim)
    backbone, audio = bundle.backbone(), speech(1, seconds)
    adaptor = SpeakerAdaptor(num_blocks, dim).eval()

    @torch.no_grad()
    def encoder() -> None:
        bundle.model.encode(*audio)

    @torch.no_grad()
    def joint() -> None:
        with capture_blocks(backbone) as captured:
            bundle.model.encode(*audio)
        adaptor(captured.blocks, captured.lengths)

    macs = []
    for function in (encoder, joint):
        with FlopCounterMode(display=False) as counter:
            function()
        macs.append(counter.get_total_flops() / 2)
    times = in_turn({"encoder": encoder, "joint": joint}, repeats)
    cells = [
        f"{num_blocks} x {dim}",
        f"{sum(p.numel() for p in adaptor.parameters()):,}",
        f"{macs[0] / 1e9:.2f} G",
        f"{macs[1] / 1e9:.2f} G",
        f"{100 * (macs[1] / macs[0] - 1):.2f} %",
        f"{statistics.median(times['encoder']):.3f}",
        f"{statistics.median(times['joint']):.3f}",
        f"{100 * (median_ratio(times['joint'], times['encoder']) - 1):.1f} %",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
