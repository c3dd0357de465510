"""Two gloo processes: unfreezing during training keeps their weights equal."""

import argparse
import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from espnet2_sv.train.distributed import seed_by_rank

pytestmark = pytest.mark.execution_timeout(600)

WORKER = Path(__file__).with_name("ddp_worker.py")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    rendezvous = f"file://{tmp_path_factory.mktemp('ddp') / 'init'}"
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), rendezvous],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        return [json.loads(p.communicate()[0]) for p in processes]
    finally:
        for p in processes:
            p.kill()


def test_unfrozen_parameters_are_synchronised(gradients):
    for merged in gradients:
        assert merged["0"] == merged["1"]
        assert any(any(row) for row in merged["0"])


def test_gathered_dicts_are_the_union_on_every_process(gradients):
    assert gradients[0] == gradients[1]
    assert set(gradients[0]) == {"0", "1"}


def drawn(model, rank: int, epoch: int = 1, grad_noise: bool = False) -> float:
    options = argparse.Namespace(seed=0, grad_noise=grad_noise)
    distributed = argparse.Namespace(distributed=True, dist_rank=rank)
    torch.manual_seed(epoch)  # as ESPnet does on all processes
    seed_by_rank(model, options, distributed, epoch)
    return torch.rand(()).item()


def test_random_numbers_differ_by_rank_and_epoch_unless_all_must_draw_the_same():
    model = torch.nn.Sequential(torch.nn.Dropout())
    draws = [drawn(model, rank, epoch) for rank in range(3) for epoch in range(1, 4)]
    assert len(set(draws)) == len(draws)
    assert drawn(model, 0) == drawn(model, 2, grad_noise=True)
    skipping = copy.deepcopy(model)
    skipping[0].stochastic_depth_rate = 0.1  # as ESPnet's encoder layers
    assert drawn(model, 0) == drawn(skipping, 2)
