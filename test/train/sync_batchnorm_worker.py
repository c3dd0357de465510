"""One of two gloo processes; normalises its parts of batches and saves the results."""

import sys
from unittest import mock

import torch

from espnet2_sv.train.batchnorm import synchronise_batchnorm

COLLECTIVES = ("all_reduce", "all_gather", "broadcast", "barrier", "all_gather_single")


def count(function):
    """Return the function's result, and the collectives in it."""
    with mock.patch.multiple(
        torch.distributed,
        **{
            name: mock.Mock(wraps=getattr(torch.distributed, name))
            for name in COLLECTIVES
            if hasattr(torch.distributed, name)
        },
    ):
        result = function()
        names = [name for name in COLLECTIVES if hasattr(torch.distributed, name)]
        return result, sum(getattr(torch.distributed, n).call_count for n in names)


def normalise(case: dict, rank: int) -> dict:
    """Return output, gradients, state and numbers of collectives."""
    model = synchronise_batchnorm(case["model"])
    x = case["parts"][rank].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y, forward = count(lambda: model(x))
    loss = (y * case["weights"][rank]).sum()
    _, backward = count(loss.backward)
    for p in model.parameters():
        torch.distributed.all_reduce(p.grad)
    return {
        "y": y.detach(),
        "x": x.grad,
        "p": [p.grad for p in model.parameters()],
        "state": model.state_dict(),
        "collectives": (forward, backward),
    }


def main(rank: int, rendezvous: str, path: str):
    torch.distributed.init_process_group("gloo", rendezvous, rank=rank, world_size=2)
    cases = torch.load(path, weights_only=False)
    results = {name: normalise(case, rank) for name, case in cases.items()}
    torch.save(results, f"{path}.{rank}")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
