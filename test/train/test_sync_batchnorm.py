"""BatchNorm over two processes compared with PyTorch's in one process."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from espnet2_sv.train.distributed import ReducedBatchNorm, synchronise_batchnorm

pytestmark = pytest.mark.execution_timeout(600)

WORKER = Path(__file__).with_name("sync_batchnorm_worker.py")


def in_two_processes(model, parts, weights, folder):
    """Outputs, gradients and state of both processes."""
    case = folder / "case"
    torch.save({"model": model, "parts": parts, "weights": weights}, case)
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), f"file://{folder}/init", case]
        )
        for rank in range(2)
    ]
    try:
        assert [p.wait() for p in processes] == [0, 0]
    finally:
        for p in processes:
            p.kill()
    return [torch.load(f"{case}.{rank}") for rank in range(2)]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (torch.nn.BatchNorm1d(3), ()),
        (torch.nn.Sequential(torch.nn.BatchNorm1d(3, momentum=None)), (7,)),
        (torch.nn.BatchNorm2d(3, eps=0.1, affine=False), (4, 5)),
    ],
    ids=["frames", "sequences", "images"],
)
def test_equals_one_process_with_the_whole_batch(model, shape, tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = 5 + torch.randn(10, 3, *shape, generator=generator)
    weights = torch.randn(x.shape, generator=generator)
    sizes = [4, 6]  # of the two processes
    results = in_two_processes(model, x.split(sizes), weights.split(sizes), tmp_path)

    single = copy.deepcopy(model)
    x = x.clone().requires_grad_()
    y = single(x)
    (y * weights).sum().backward()
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(
        torch.cat([r["y"] for r in results]), y.detach(), **close
    )
    torch.testing.assert_close(torch.cat([r["x"] for r in results]), x.grad, **close)
    for result in results:
        torch.testing.assert_close(
            result["p"], [p.grad for p in single.parameters()], **close
        )
        assert list(result["state"]) == list(single.state_dict())
        torch.testing.assert_close(
            dict(result["state"]), dict(single.state_dict()), **close
        )


def test_parameters_keep_their_identity_and_evaluation_needs_no_process_group():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    reference = copy.deepcopy(model).eval()
    parameters = list(model.parameters())
    synchronise_batchnorm(model, "cpu")
    assert isinstance(model[1], ReducedBatchNorm)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    x = torch.randn(4, 3)
    assert torch.equal(model.eval()(x), reference(x))


def test_gpus_use_torchs_sync_batchnorm():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    assert isinstance(synchronise_batchnorm(model, "cuda")[0], torch.nn.SyncBatchNorm)
