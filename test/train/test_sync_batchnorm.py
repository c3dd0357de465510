"""BatchNorm over two processes compared with PyTorch's in one process."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from espnet2_sv.train.batchnorm import ReducedBatchNorm, synchronise_batchnorm

pytestmark = pytest.mark.execution_timeout(600)

WORKER = Path(__file__).with_name("sync_batchnorm_worker.py")
MODELS = {
    "frames": (torch.nn.BatchNorm1d(3), ()),
    "sequences": (torch.nn.Sequential(torch.nn.BatchNorm1d(3, momentum=None)), (7,)),
    "images": (torch.nn.BatchNorm2d(3, eps=0.1, affine=False), (4, 5)),
    "double": (torch.nn.BatchNorm1d(3).double(), (7,)),
    "autocast": (torch.nn.BatchNorm1d(3), (7,)),
    "one_empty": (torch.nn.BatchNorm1d(3), (7,)),
    "large_mean": (torch.nn.BatchNorm1d(3), (7,)),
}
TYPES = {"autocast": torch.bfloat16, "double": torch.float64}
SIZES = {"one_empty": [10, 0]}  # utterances of the two processes


def make_case(name: str) -> dict:
    """A model, a batch, and weights of the outputs in the loss."""
    model, shape = MODELS[name]
    generator = torch.Generator().manual_seed(0)
    mean = 1000 if name == "large_mean" else 5
    x = mean + torch.randn(10, 3, *shape, generator=generator)
    x = x.to(TYPES.get(name, torch.float32))
    weights = torch.randn(x.shape, generator=generator)
    for i, p in enumerate(model.parameters()):
        p.data += 0.1 * (1 + i) * torch.arange(3)
    return {"model": model, "x": x, "weights": weights.to(x.dtype)}


@pytest.fixture(scope="module")
def cases() -> dict[str, dict]:
    return {name: make_case(name) for name in MODELS}


@pytest.fixture(scope="module")
def results(cases, tmp_path_factory) -> list[dict]:
    """Outputs, gradients, state and collectives of both processes, by case."""
    folder = tmp_path_factory.mktemp("batchnorm")
    divided = {}
    for name, case in cases.items():
        sizes = SIZES.get(name, [4, 6])
        parts = {k: [p.clone() for p in case[k].split(sizes)] for k in ("x", "weights")}
        divided[name] = {
            "model": case["model"],
            "parts": parts["x"],
            "weights": parts["weights"],
        }
    torch.save(divided, folder / "cases")
    command = [sys.executable, WORKER]
    processes = [
        subprocess.Popen(
            [*command, str(rank), f"file://{folder}/init", folder / "cases"]
        )
        for rank in range(2)
    ]
    try:
        assert [p.wait() for p in processes] == [0, 0]
    finally:
        for p in processes:
            p.kill()
    return [torch.load(folder / f"cases.{rank}") for rank in range(2)]


@pytest.mark.parametrize("name", MODELS)
def test_equals_one_process_with_the_whole_batch(name, cases, results):
    single = copy.deepcopy(cases[name]["model"])
    x = cases[name]["x"]
    exact = x if x.dtype == torch.float64 else x.float()
    exact = exact.clone().requires_grad_()
    y = single(exact)
    (y * cases[name]["weights"]).sum().backward()
    close = {"rtol": 1e-5, "atol": 1e-5}
    if name == "large_mean":  # rounding of the input itself
        close = {"rtol": 1e-4, "atol": 1e-3}
    found = [result[name] for result in results]
    rounded = {"rtol": 2**-7, "atol": 2**-7} if name == "autocast" else close
    torch.testing.assert_close(
        torch.cat([r["y"] for r in found]), y.detach().to(x.dtype), **rounded
    )
    torch.testing.assert_close(
        torch.cat([r["x"] for r in found]), exact.grad.to(x.dtype), **rounded
    )
    for result in found:
        torch.testing.assert_close(
            result["p"], [p.grad for p in single.parameters()], **close
        )
        assert list(result["state"]) == list(single.state_dict())
        torch.testing.assert_close(
            dict(result["state"]), dict(single.state_dict()), **close
        )


@pytest.mark.parametrize("name", MODELS)
def test_processes_communicate_once_forward_and_once_backward(name, results):
    assert [result[name]["collectives"] for result in results] == [(1, 1)] * 2


def test_parameters_keep_their_identity_and_evaluation_needs_no_process_group():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    reference = copy.deepcopy(model).eval()
    parameters = list(model.parameters())
    synchronise_batchnorm(model)
    assert isinstance(model[1], ReducedBatchNorm)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    x = torch.randn(4, 3)
    assert torch.equal(model.eval()(x), reference(x))


@pytest.fixture
def eight_processes():
    """A group whose other processes are imaginary."""
    torch.distributed.init_process_group(
        "fake", store=FakeStore(), rank=0, world_size=8
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def gpu_input():
    """A batch on an imaginary GPU; to read a value or to wait for it is an error."""
    with FakeTensorMode(), torch.device("cuda"):
        yield torch.randn(4, 8, 10, dtype=torch.bfloat16, requires_grad=True)


def test_the_cpu_does_not_wait_for_a_gpu(eight_processes, gpu_input):
    y = synchronise_batchnorm(torch.nn.BatchNorm1d(8))(gpu_input)
    gradients = y.grad_fn.apply(torch.ones_like(y), None, None, None)
    assert gradients[0].device.type == "cuda"
    assert gradients[0].dtype == gpu_input.dtype


def test_torchs_own_can_be_chosen():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    assert isinstance(synchronise_batchnorm(model, True)[0], torch.nn.SyncBatchNorm)
