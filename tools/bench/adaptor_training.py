#!/usr/bin/env python3
"""Compare a training step of the speaker adaptor with one of the whole encoder.

The adaptor's step is compared with the forward pass of the frozen encoder, its lower
bound, and with a step of the transfer model (encoder and MFA head, all trainable). A
step is forward pass, loss over 5,994 speakers, backward pass, gradient clipping and
AdamW. Peak memory is measured in a separate process, without the memory used after all
imports.

    python tools/bench/adaptor_training.py    # about four minutes
"""

import multiprocessing
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from networks import asr_bundle, in_turn, machine, median_ratio, parser, speech

from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.heads.mfa import MFAHead
from espnet2_sv.models.choices import loss_choices
from espnet2_sv.models.speaker_model import SpeakerModel

SPEAKERS = 5994  # of VoxCeleb2's development set
VARIANTS = ("forward", "adaptor", "transfer")


def main() -> None:
    """Print a Markdown table."""
    options = parser(__doc__.splitlines()[0], repeats=5)
    options.add_argument("--batch_size", type=int, default=16)
    options.add_argument("--seconds", type=float, default=3.0, help="length of a crop")
    options.add_argument("--sizes", nargs="+", default=["12x256", "12x512"])
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.batch_size} crops of {args.seconds:g} s; {machine(args.threads)};"
        f" medians of {args.repeats}\n"
    )
    print(
        "| encoder | forward s | adaptor step s | / forward | transfer step s |"
        " / adaptor | adaptor memory | transfer memory | adaptor / transfer |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in args.sizes:
        print(measure(size, args))


def measure(size: str, args) -> str:
    """Return a row of the table for one encoder size."""
    shape = (*map(int, size.split("x")), args.batch_size, args.seconds)
    memory = {
        name: in_subprocess(peak_memory, name, shape, args.threads)
        for name in VARIANTS[1:]
    }
    times = in_subprocess(step_times, shape, args.threads, args.repeats)
    cells = [
        size.replace("x", " x "),
        f"{statistics.median(times['forward']):.3f}",
        f"{statistics.median(times['adaptor']):.3f}",
        f"{median_ratio(times['adaptor'], times['forward']):.2f}",
        f"{statistics.median(times['transfer']):.3f}",
        f"{median_ratio(times['transfer'], times['adaptor']):.2f}",
        f"{memory['adaptor'] / 2**30:.2f} GiB",
        f"{memory['transfer'] / 2**30:.2f} GiB",
        f"{100 * memory['adaptor'] / memory['transfer']:.0f} %",
    ]
    return f"| {' | '.join(cells)} |"


def step_times(shape: tuple, threads: int, repeats: int) -> dict[str, list[float]]:
    """Time the steps of all variants in turn, in seconds."""
    torch.set_num_threads(threads)
    return in_turn({name: variant(name, *shape) for name in VARIANTS}, repeats)


def peak_memory(name: str, shape: tuple, threads: int) -> int:
    """Return a variant's peak memory in bytes, from building it to its second step."""
    torch.set_num_threads(threads)
    before = peak()
    step = variant(name, *shape)
    for _ in range(2):
        step()
    return peak() - before


def peak() -> int:
    """Return the peak resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    # e.g. VmHWM:	  123456 kB
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def variant(
    name: str, num_blocks: int, dim: int, batch: int, seconds: float
) -> Callable:
    """Return a function that runs one step of a variant."""
    bundle = asr_bundle(num_blocks, dim)
    backbone, audio = bundle.backbone(), speech(batch, seconds)
    if name == "transfer":
        head = MFAHead(num_blocks, dim)
    else:
        backbone = FrozenBackbone(backbone, "00" * 32)
        head = SpeakerAdaptor(num_blocks, dim)
    if name == "forward":
        return lambda: backbone(*audio)
    loss = loss_choices.get_class("aamsoftmax")(head.embed_dim, SPEAKERS)
    model = SpeakerModel(backbone, head, loss).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)  # as in the configs
    labels = torch.arange(batch) % SPEAKERS

    def step() -> None:
        optimizer.zero_grad()
        model(*audio, labels)[0].backward()
        torch.nn.utils.clip_grad_norm_(trained, 5.0)
        optimizer.step()

    return step


def in_subprocess(function: Callable, *arguments):
    """Call a function in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


if __name__ == "__main__":
    main()
