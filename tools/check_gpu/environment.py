"""What the machine has, and what is missing."""

import os
import shutil
import subprocess

import torch
from check_install import NEEDED, PACKAGES, check_package

from check_gpu.device import exact_float32, peak_tflops
from check_gpu.results import (
    GIBIBYTE,
    Check,
    Context,
    Failed,
    Figures,
    Skipped,
)
from espnet2_sv.environment import count_gpus, describe_environment

SIZE = 256  # of the matrices and images of the first computations
TOLERANCE = 1e-4  # relative, of float32 products


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part."""
    return {
        "versions": versions,
        "packages": packages,
        "GPU": lambda: gpus(context),
        "first computations": lambda: computations(context),
        "bfloat16": lambda: bfloat16(context),
        "NCCL": lambda: nccl(context),
        "machine": machine,
    }


def versions() -> Figures:
    """Versions of everything that computes."""
    found = describe_environment()
    found["python"] = found["python"].split()[0]
    if "git_hash" in found:
        found["git_hash"] = found["git_hash"][:10]
    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
    return {**found, "CUDA": torch.version.cuda or "none", "cuDNN": cudnn or "none"}


def packages() -> Figures:
    """Needed packages, by importing them."""
    needed = [package for package in PACKAGES if package.kind == NEEDED]
    rows = [row for package in needed for row in check_package(package)]
    missing = [f"{row.name}: {row.mend}" for row in rows if not row.found]
    if missing:
        raise Failed("; ".join(missing))
    return {"needed": len(rows)}


def gpus(context: Context) -> Figures:
    """The GPUs, as torch and the driver know them."""
    if context.device != "cuda":
        raise Skipped(f"--device cpu; GPUs here: {count_gpus() or 0}")
    if not torch.cuda.is_available():
        raise Failed(
            f"torch {torch.__version__} finds no usable GPU ({count_gpus() or 0} known"
            f" to the driver; it wants CUDA {torch.version.cuda})"
        )
    found = [torch.cuda.get_device_properties(i) for i in range(gpu_count())]
    first = found[0]
    figures = {
        "GPU": ", ".join(p.name for p in found),
        "GiB": round(first.total_memory / GIBIBYTE, 1),
        "compute capability": f"{first.major}.{first.minor}",
        "multiprocessors": first.multi_processor_count,
        "driver": driver_version(),
        "peak TFLOP/s": peak_tflops(context.device) or "unknown",
    }
    if first.total_memory - torch.cuda.mem_get_info()[0] > 2 * GIBIBYTE:
        figures["note"] = "another process uses this GPU: speeds are not its own"
    return figures


def gpu_count() -> int:
    """Return the number of GPUs that this process may use."""
    return torch.cuda.device_count()


def driver_version() -> str:
    """Return the version of NVIDIA's driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown (no nvidia-smi)"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return next(iter(done.stdout.split()), "unknown")


def computations(context: Context) -> Figures:
    """A product, a convolution and a Fourier transform, against the CPU."""
    exact_float32()
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(SIZE, SIZE, generator=generator)
    kernel = torch.randn(4, 1, 3, 3, generator=generator)
    work = {
        "product": lambda x, k: x @ x,
        "convolution": lambda x, k: torch.nn.functional.conv2d(x[None, None], k),
        "Fourier transform": lambda x, k: torch.fft.rfft(x).abs(),
    }
    errors = {}
    for name, compute in work.items():
        # In float64: on a CPU, too, there is something to compare
        exact = compute(matrix.double(), kernel.double())
        found = compute(matrix.to(context.device), kernel.to(context.device))
        difference = found.cpu().double() - exact
        errors[name] = float(difference.norm() / exact.norm())
    wrong = [name for name, error in errors.items() if not error <= TOLERANCE]
    if wrong:
        raise Failed(f"wrong: {', '.join(wrong)}", errors)
    return errors


def bfloat16(context: Context) -> Figures:
    """Whether mixed precision helps."""
    if context.device != "cuda":
        raise Skipped("--device cpu")
    if not torch.cuda.is_available():
        raise Failed("no usable GPU")
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    note = "native" if native else "emulated: training takes float16 instead"
    return {"bfloat16": note}


def nccl(context: Context) -> Figures:
    """The library that several GPUs train with."""
    if context.device != "cuda":
        raise Skipped("--device cpu")
    if not torch.distributed.is_nccl_available():
        raise Failed("torch was built without NCCL: only one GPU can be used")
    return {"NCCL": ".".join(map(str, torch.cuda.nccl.version()))}


def machine() -> Figures:
    """What feeds the GPU."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory GiB": round(pages / GIBIBYTE, 1),
        "/dev/shm GiB": round(shared / GIBIBYTE, 1),
    }
