#!/usr/bin/env python3
"""Compare a transfer step with and without --grad_checkpointing.

A step is forward pass, loss over 5,994 speakers and backward pass. Memory is what
the forward pass keeps for the backward pass, block outputs included, in float32. The
rest of a step's memory is the same: weights, gradients, optimizer.

    python tools/bench/checkpointing.py    # about eight minutes
"""

import statistics
import time

import torch
from networks import encoder_backbone, in_turn, machine, median_ratio, parser, speech

from espnet2_sv.heads.mfa import MFAHead
from espnet2_sv.models.choices import loss_choices
from espnet2_sv.models.speaker_model import SpeakerModel

SPEAKERS = 5994  # of VoxCeleb2's development set
ENCODERS = ["18x512", "owsm-6x384", "owsm-9x768", "owsm-18x1024"]


def main() -> None:
    """Print a Markdown table."""
    options = parser(__doc__.splitlines()[0], repeats=3)
    options.add_argument("--batch_size", type=int, default=4)
    options.add_argument("--seconds", type=float, default=3.0, help="length of a crop")
    options.add_argument(
        "--encoders", nargs="+", default=ENCODERS, help="see encoder_backbone()"
    )
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.batch_size} crops of {args.seconds:g} s; {machine(args.threads)};"
        f" processor time, medians of {args.repeats}\n"
    )
    print(
        "| encoder | MiB per crop | checkpointed | ratio | step s | checkpointed |"
        " ratio |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in args.encoders:
        print(measure(name, args), flush=True)


def measure(name: str, args) -> str:
    """Return a row of the table for one encoder."""
    backbone = encoder_backbone(name)
    head = MFAHead(backbone.num_blocks, backbone.block_dim)
    loss = loss_choices.get_class("aamsoftmax")(head.embed_dim, SPEAKERS)
    model = SpeakerModel(backbone, head, loss).train()
    audio = speech(args.batch_size, args.seconds)
    labels = torch.arange(args.batch_size)

    def step(checkpointed: bool) -> None:
        backbone.grad_checkpointing = checkpointed
        model.zero_grad()
        model(*audio, labels)[0].backward()

    memory = []
    for backbone.grad_checkpointing in (False, True):
        kept = mib_kept(model, lambda: model(*audio, labels)[0])
        memory.append(kept / args.batch_size)
    functions = {"plain": lambda: step(False), "saving": lambda: step(True)}
    times = in_turn(functions, args.repeats, time.process_time)
    cells = [name.replace("x", " x ")]
    cells += [f"{mib:.0f}" for mib in memory] + [f"{memory[1] / memory[0]:.2f}"]
    cells += [f"{statistics.median(times[side]):.1f}" for side in functions]
    cells.append(f"{median_ratio(times['saving'], times['plain']):.2f}")
    return f"| {' | '.join(cells)} |"


def mib_kept(model: SpeakerModel, forward) -> float:
    """Return the MiB that a forward pass keeps for the backward pass."""
    sizes: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def count_blocks(module, inputs, outputs) -> None:  # a checkpoint keeps its inputs
        for block in outputs[0]:
            pack(block)

    hook = model.backbone.register_forward_hook(count_blocks)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss = forward()  # while it exists, so does what it keeps
    hook.remove()
    return sum(n for key, n in sizes.items() if key not in weights) / 2**20


if __name__ == "__main__":
    main()
