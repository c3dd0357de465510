#!/usr/bin/env python3
"""Measure the cost of a speaker embedding on top of an ASR encoder pass.

python tools/bench/adaptor_cost.py    # about six minutes and 6 GiB
"""

import statistics
import time

import torch
from networks import encoder_backbone, in_turn, machine, median_ratio, parser, speech
from torch.utils.flop_counter import FlopCounterMode

from espnet2_sv.heads.adaptor import SpeakerAdaptor

# Conformers, then OWSM v3.1 base, small and medium, then OWSM-CTC v4
ENCODERS = ["18x512", "12x512", "12x256"]
ENCODERS += ["owsm-6x384", "owsm-9x768", "owsm-18x1024", "owsm-ctc-27x1024"]


def main() -> None:
    """Print a Markdown table of multiply-accumulates (MAC) and times."""
    options = parser(__doc__.splitlines()[0], repeats=15)
    options.add_argument(
        "--seconds", type=float, default=10.0, help="length of the audio"
    )
    options.add_argument(
        "--encoders", nargs="+", default=ENCODERS, help="see encoder_backbone()"
    )
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.seconds:g} s of audio; {machine(args.threads)}; medians of"
        f" {args.repeats}\n"
    )
    print(
        "| encoder | its parameters | adaptor parameters | encoder MAC | with adaptor |"
        " increase | encoder s | joint s | increase |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in args.encoders:
        print(measure(name, args.seconds, args.repeats), flush=True)


def measure(name: str, seconds: float, repeats: int) -> str:
    """Return a row of the table for one encoder."""
    backbone = encoder_backbone(name).requires_grad_(False)
    audio = speech(1, seconds)
    adaptor = SpeakerAdaptor(backbone.num_blocks, backbone.block_dim).eval()

    @torch.no_grad()
    def encoder() -> None:
        backbone.encode(*backbone.features(*audio))

    @torch.no_grad()
    def joint() -> None:
        adaptor(*backbone(*audio))

    macs = []
    for function in (encoder, joint):
        with FlopCounterMode(display=False) as counter:
            function()
        macs.append(counter.get_total_flops() / 2)
    times = in_turn({"encoder": encoder, "joint": joint}, repeats, time.process_time)
    cells = [
        name.replace("x", " x "),
        f"{sum(p.numel() for p in backbone.parameters()):,}",
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
