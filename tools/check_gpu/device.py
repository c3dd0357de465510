"""The few calls that differ between CUDA and a CPU."""

import gc

import torch

from check_gpu.results import GIBIBYTE

# Dense bfloat16 TFLOP/s with tensor cores, from NVIDIA's data sheets. The first name
# that is part of the GPU's name counts.
PEAK_TFLOPS = {
    "B200": 2250.0,
    "B100": 1750.0,
    "GH200": 989.0,
    "H200 NVL": 835.0,
    "H200": 989.0,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H800": 989.0,
    "H20": 148.0,
    "A100": 312.0,
    "A800": 312.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "RTX 6000 Ada": 364.2,
    "RTX A6000": 154.8,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


def synchronise(device: str) -> None:
    """Wait until the device has done all that it was told to."""
    if device == "cuda":
        torch.cuda.synchronize()


def free_memory(device: str) -> None:
    """Return memory that nothing refers to, so that the next check starts anew."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def reset_peak(device: str) -> None:
    """Measure the peak of the memory from here on."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> dict[str, float]:
    """Return the peak memory of tensors in GiB, as a figure; none on a CPU."""
    if device != "cuda":
        return {}
    return {"peak GiB": round(torch.cuda.max_memory_allocated() / GIBIBYTE, 2)}


def total_gib(device: str) -> float:
    """Return the memory of the GPU in GiB; 0 on a CPU."""
    if device != "cuda":
        return 0.0
    current = torch.cuda.current_device()
    return torch.cuda.get_device_properties(current).total_memory / GIBIBYTE


def peak_tflops(device: str) -> float | None:
    """Return the GPU's published bfloat16 TFLOP/s; None if they are not known."""
    if device != "cuda":
        return None
    name = torch.cuda.get_device_name()
    return next((peak for key, peak in PEAK_TFLOPS.items() if key in name), None)


def exact_float32() -> None:
    """Turn TensorFloat-32 off, which has ten bits of mantissa."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def mixed_precision(device: str):
    """Return autocast to bfloat16, as the trainer uses it."""
    return torch.autocast(device, dtype=torch.bfloat16)
