#!/usr/bin/env python3
"""What a training step of the speaker adaptor costs, beside fine-tuning the whole encoder.

The adaptor's step is compared with the frozen encoder's forward pass alone, which is
the least that it can take, and with a step of the transfer task's network (encoder and
MFA head, everything trained). A step is forward, loss over 5,994 speakers, backward,
clipping and AdamW. Peak memory is that of a process of its own, less what it takes
after importing everything.

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

SPEAKERS = 5994  # VoxCeleb2's development set
VARIANTS = ("forward", "adaptor", "everything")


def main() -> None:
    """Print a Markdown table."""
    options = parser(__doc__.splitlines()[0], repeats=5)
    options.add_argument("--batch_size", type=int, default=16)
    options.add_argument("--seconds", type=float, default=3.0, help="of a crop")
    options.add_argument("--sizes", nargs="+", default=["12x256", "12x512"])
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.batch_size} crops of {args.seconds:g} s; {machine(args.threads)};"
        f" medians of {args.repeats}\n"
    )
    print(
        "| encoder | forward alone s | adaptor step s | / forward | everything s | /"
        " adaptor | adaptor memory | everything | share |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in args.sizes:
        print(measure(size, args))


def measure(size: str, args) -> str:
    """Return a row of the table."""
    shape = (*map(int, size.split("x")), args.batch_size, args.seconds)
    memory = {
        name: apart(peak_memory, name, shape, args.threads) for name in VARIANTS[1:]
    }
    times = apart(step_times, shape, args.threads, args.repeats)
    cells = [
        size.replace("x", " x "),
        f"{statistics.median(times['forward']):.3f}",
        f"{statistics.median(times['adaptor']):.3f}",
        f"{median_ratio(times['adaptor'], times['forward']):.2f}",
        f"{statistics.median(times['everything']):.3f}",
        f"{median_ratio(times['everything'], times['adaptor']):.2f}",
        f"{memory['adaptor'] / 2**30:.2f} GiB",
        f"{memory['everything'] / 2**30:.2f} GiB",
        f"{100 * memory['adaptor'] / memory['everything']:.0f} %",
    ]
    return f"| {' | '.join(cells)} |"


def step_times(shape: tuple, threads: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each variant, measured in turn."""
    torch.set_num_threads(threads)
    return in_turn({name: variant(name, *shape) for name in VARIANTS}, repeats)


def peak_memory(name: str, shape: tuple, threads: int) -> int:
    """Bytes that a variant takes at most, from building the model to its second step."""
    torch.set_num_threads(threads)
    before = peak()
    step = variant(name, *shape)
    for _ in range(2):
        step()
    return peak() - before


def peak() -> int:
    """Return the process's peak of resident memory in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(
        status.split("VmHWM:")[1].split()[0]
    )  # e.g. VmHWM:	  123456 kB


def variant(
    name: str, num_blocks: int, dim: int, batch: int, seconds: float
) -> Callable:
    """Return a function that does one step."""
    bundle = asr_bundle(num_blocks, dim)
    backbone, audio = bundle.backbone(), speech(batch, seconds)
    if name == "everything":
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


def apart(function: Callable, *arguments):
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


if __name__ == "__main__":
    main()
