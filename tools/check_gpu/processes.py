"""Two processes: the gradients of one, and what happens when one of them dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from check_gpu.commands import Commands
from check_gpu.device import exact_float32, free_memory
from check_gpu.networks import VOXCELEB, voices
from check_gpu.parity import SPEAKERS, build, norm
from check_gpu.results import Check, Context, Failed, Figures, Skipped
from espnet2_sv.train.batchnorm import synchronise_batchnorm
from espnet2_sv.train.checkpoint import SAFE_CHECKPOINT

WORLD = 2
TOLERANCE = 1e-4  # relative, of the gradient of all parameters
SECONDS_TO_END = 60.0
CROPS = 16
Gradients = dict[str, torch.Tensor]


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part."""
    made: dict[str, Check] = {
        "gradients, gloo": lambda: gradients(context, "gloo"),
        "gradients, NCCL": lambda: gradients(context, "nccl"),
        "a process dies, gloo": lambda: death(context, "gloo"),
        "a process dies, NCCL": lambda: death(context, "nccl"),
    }
    return made


def require_backend(context: Context, backend: str) -> None:
    """Skip NCCL where there are not two GPUs."""
    count = torch.cuda.device_count() if context.device == "cuda" else 0
    if backend == "nccl" and count < WORLD:
        raise Skipped(f"NCCL needs {WORLD} GPUs; used here: {count}")


def gradients(context: Context, backend: str) -> Figures:
    """Compare gradients of half the batch each with those of the whole batch."""
    require_backend(context, backend)
    exact_float32()
    folder = context.workdir / f"gradients_{backend}"
    folder.mkdir()
    expected = whole_batch(context)
    free_memory(context.device)
    spawn = torch.multiprocessing.get_context("spawn")
    members = [
        spawn.Process(target=member, args=(context, backend, rank, folder))
        for rank in range(WORLD)
    ]
    for process in members:
        process.start()
    for process in members:
        process.join()
    codes = [process.exitcode for process in members]
    if any(codes):
        raise Failed(f"the processes ended with {codes}")
    errors = []
    for rank in range(WORLD):
        found = torch.load(folder / f"{rank}.pt", weights_only=True)
        if found.keys() != expected.keys():
            raise Failed(f"process {rank} has gradients of other parameters")
        apart = norm(found[name] - expected[name] for name in expected)
        errors.append(apart / norm(expected.values()))
    figures = {"parameters": len(expected), "apart": max(errors)}
    if not figures["apart"] <= TOLERANCE:
        raise Failed("the gradients differ from those of one process", figures)
    return figures


def whole_batch(context: Context) -> Gradients:
    """Return the gradients of one process."""
    model = network(context).to(context.device)
    return backward(model, context.device, slice(None))


def network(context: Context) -> torch.nn.Module:
    """Build the same network in each process."""
    model = build(context, VOXCELEB / "train_sv_scratch.yaml", Path())
    return model.train()


def member(context: Context, backend: str, rank: int, folder: Path) -> None:
    """Compute and save the gradients of one process."""
    exact_float32()
    device = context.device
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    torch.distributed.init_process_group(
        backend, f"file://{folder}/rendezvous", rank=rank, world_size=WORLD
    )
    model = network(context).to(device)
    synchronise_batchnorm(model)
    places = [torch.cuda.current_device()] if device == "cuda" else None
    parallel = DistributedDataParallel(model, device_ids=places)
    found = backward(parallel, device, slice(rank, None, WORLD))
    names = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    torch.save(names, folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def backward(model: torch.nn.Module, device: str, rows: slice) -> Gradients:
    """Return the gradients of some rows of the batch, on the CPU."""
    batch = {k: v[rows].to(device) for k, v in voices(CROPS, 1.0, SPEAKERS).items()}
    loss, _, _ = model(**batch)
    loss.sum().backward()
    return {
        name: parameter.grad.cpu().double()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def death(context: Context, backend: str) -> Figures:
    """Kill one of two processes of a real training, and wait for the other."""
    require_backend(context, backend)
    ngpu = int(backend == "nccl")
    commands, folder = Commands(context), context.workdir / f"death_{backend}"
    command = commands.training("transfer", folder, ngpu, max_epoch=1000)
    port = free_port()
    processes, errors = [], []
    try:
        for rank in range(WORLD):
            log = context.workdir / f"death_{backend}_{rank}.log"
            errors.append(log)
            processes.append(start(command, backend, rank, port, log))
        wait_for_epoch(folder / SAFE_CHECKPOINT, processes)
        processes[1].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        try:
            status = processes[0].wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            raise Failed(f"the other still runs after {SECONDS_TO_END:.0f} s") from None
        seconds = time.monotonic() - killed
    finally:
        for process in processes:
            process.kill()
            process.wait()
    last = errors[0].read_text(encoding="utf-8", errors="replace").strip()
    figures = {"ended after s": seconds, "status": status}
    figures["message"] = last.rpartition("\n")[2][:200]
    if status == 0:
        raise Failed("the other ended as if nothing had happened", figures)
    return figures


def start(
    command: list[str], backend: str, rank: int, port: int, log: Path
) -> subprocess.Popen:
    """Start one process of a training."""
    distributed = {
        "multiprocessing_distributed": "false",
        "dist_world_size": WORLD,
        "dist_backend": backend,
        "dist_master_addr": "localhost",
        "dist_master_port": port,
        "dist_rank": rank,
    }
    options = [part for k, v in distributed.items() for part in (f"--{k}", str(v))]
    module = [sys.executable, "-m", "espnet2_sv.bin.sv_transfer_train"]
    env = dict(os.environ)
    if backend == "nccl":
        env["CUDA_VISIBLE_DEVICES"] = visible_gpu(rank)
    with open(log, "w", encoding="utf-8") as stream:
        return subprocess.Popen(
            [*module, *command, *options], env=env, stdout=stream, stderr=stream
        )


def visible_gpu(rank: int) -> str:
    """Return the name of the GPU that a process gets."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return names[rank] if len(names) >= WORLD else str(rank)


def wait_for_epoch(path: Path, processes: list[subprocess.Popen]) -> None:
    """Wait until the second epoch has begun.

    Raises:
        Failed: A process ended before.
    """
    while not path.exists():
        codes = [process.poll() for process in processes]
        if any(code is not None for code in codes):
            raise Failed(f"the training ended by itself, status {codes}")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nothing uses."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]
