"""One of one or two processes; prints the distillation loss and gradients."""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from espnet2_sv.tasks.distill import SVDistillTask


def main(settings: str, rank: int, world_size: int, rendezvous: str):
    torch.manual_seed(0)
    model = SVDistillTask.build_model(
        argparse.Namespace(**json.loads(Path(settings).read_text()))
    )
    model.eval()  # BatchNorm must not use the statistics of half the batch
    generator = torch.Generator().manual_seed(1)
    speech = torch.randn(4, 12000, generator=generator)
    labels = torch.tensor([0, 1, 2, 3])
    if world_size == 2:
        torch.distributed.init_process_group(
            "gloo", rendezvous, rank=rank, world_size=2
        )
        model = DistributedDataParallel(model)
        speech, labels = speech[rank::2], labels[rank::2]
    loss, stats, _ = model(speech, torch.full((len(speech),), 12000), labels)
    loss.mean().backward()
    model = getattr(model, "module", model)
    print(
        json.dumps(
            {
                "loss": loss.item(),
                "kd": stats["loss_kd"].item(),
                "gradients": {
                    name: p.grad.norm().item()
                    for name, p in model.named_parameters()
                    if p.grad is not None
                },
            }
        )
    )
    if world_size == 2:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
