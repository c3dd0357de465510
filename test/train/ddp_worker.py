"""One of two gloo processes; prints the gradients of both."""

import argparse
import json
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from espnet2_sv.train.distributed import gather_dicts, rewrap, trainable_ids

OPTIONS = argparse.Namespace(
    unused_parameters=False, gradient_as_bucket_view=True, ddp_comm_hook=None
)


def main(rank: int, rendezvous: str):
    torch.distributed.init_process_group("gloo", rendezvous, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    model[0].requires_grad_(False)
    outer = DistributedDataParallel(model)
    wrapped = trainable_ids(model)
    model[0].requires_grad_(True)
    inner = rewrap(outer, OPTIONS) if trainable_ids(model) != wrapped else outer
    inner(torch.full((2, 3), float(rank + 1))).square().mean().backward()
    print(
        json.dumps(
            gather_dicts({str(rank): model[0].weight.grad.tolist()}, distributed=True)
        )
    )
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
