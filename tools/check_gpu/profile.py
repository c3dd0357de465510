"""What one training step does on a GPU: kernels, synchronisations, copies."""

import collections
import json
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from check_gpu.results import Figures

MEBIBYTE = 2**20
# CUDA's functions that wait for the device
WAITING = (
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cuStreamSynchronize",
    "cuCtxSynchronize",
    "cuEventSynchronize",
)
COMMONEST = 10  # places that are listed


class StepProfile:
    """Records one step; nothing on a CPU.

    Args:
        device: ``"cuda"`` or ``"cpu"``.
    """

    def __init__(self, device: str):
        self.on = device == "cuda"

    def start(self) -> None:
        """Start to record."""
        if self.on:
            activities = torch.profiler.ProfilerActivity
            self.profiler = torch.profiler.profile(
                activities=[activities.CPU, activities.CUDA]
            )
            torch.cuda.synchronize()
            self.profiler.start()

    def stop(self) -> Figures:
        """Stop to record.

        Returns:
            Kernels, synchronisations, and copies to the device in MiB.
        """
        if not self.on:
            return {}
        torch.cuda.synchronize()
        self.profiler.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trace.json")
            self.profiler.export_chrome_trace(str(path))
            events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
        return count_events(events)


def count_events(events: Iterable[dict[str, Any]]) -> Figures:
    """Count kernels, synchronisations and copied bytes of a trace.

    The last synchronisation, of the measurement itself, does not count.
    """
    kernels = waits = copied = 0
    for event in events:
        category = event.get("cat", "")
        if category == "kernel":
            kernels += 1
        elif category in ("cuda_runtime", "cuda_driver"):
            waits += event["name"] in WAITING
        elif category == "gpu_memcpy" and "HtoD" in event["name"]:
            copied += event["args"].get("bytes", 0)
    if not kernels:
        return {"kernels": "unknown (the profiler saw none)"}
    return {
        "kernels": kernels,
        "synchronisations": max(0, waits - 1),
        "copied MiB": round(copied / MEBIBYTE, 1),
    }


class SynchronisationPlaces:
    """Records which lines of Python wait for the device in one step."""

    def __init__(self, device: str):
        self.on = device == "cuda"
        self.caught = warnings.catch_warnings(record=True)

    def start(self) -> None:
        """Start to record."""
        if self.on:
            self.messages = self.caught.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")

    def stop(self) -> Figures:
        """Stop to record; return the commonest places, as ``file:line count``."""
        if not self.on:
            return {}
        torch.cuda.set_sync_debug_mode("default")
        self.caught.__exit__(None, None, None)
        lines = collections.Counter(
            f"{'/'.join(Path(m.filename).parts[-3:])}:{m.lineno}"
            for m in self.messages or []
            if "synchroniz" in str(m.message)
        )
        places = [f"{place} {n}" for place, n in lines.most_common(COMMONEST)]
        return {"waits in": places}
