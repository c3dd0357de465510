"""One of two gloo processes; normalises its part of a batch and saves the results."""

import sys

import torch

from espnet2_sv.train.distributed import synchronise_batchnorm


def main(rank: int, rendezvous: str, path: str):
    torch.distributed.init_process_group("gloo", rendezvous, rank=rank, world_size=2)
    case = torch.load(path, weights_only=False)
    model = synchronise_batchnorm(case["model"], "cpu")
    x = case["parts"][rank].requires_grad_()
    y = model(x)
    (y * case["weights"][rank]).sum().backward()
    for p in model.parameters():
        torch.distributed.all_reduce(p.grad)
    result = {"y": y.detach(), "x": x.grad, "p": [p.grad for p in model.parameters()]}
    torch.save(result | {"state": model.state_dict()}, f"{path}.{rank}")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
