"""What computes a result: versions, as ESPnet's pages of results list them; GPUs."""

import ctypes
import os
import runpy
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError


def describe_environment() -> dict[str, str]:
    """Return the versions that are in use, without importing torch.

    Returns:
        ``python``, ``espnet``, ``torch`` and ``espnet2_sv`` and, if the working
        directory lies in a git tree, its ``git_hash`` and ``git_date`` (of the commit).
    """
    from espnet2 import __version__ as espnet
    from espnet2_sv import __version__ as own

    found = {"python": " ".join(sys.version.split()), "espnet": espnet}
    return found | {"torch": _torch_version(), "espnet2_sv": own} | _git_commit()


def _torch_version() -> str:
    """Return e.g. 2.14.1+cu130, of which the package's metadata lack the end."""
    spec = util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        file = Path(spec.origin).with_name("version.py")  # imports nothing of torch
        if file.exists():
            return str(runpy.run_path(str(file)).get("__version__"))
    return metadata.version("torch")


def _git_commit() -> dict[str, str]:
    try:
        done = subprocess.run(
            ["git", "log", "-1", "--format=%H%n%cd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=True,
        )
        commit, date = done.stdout.split("\n")[:2]
    except (OSError, subprocess.CalledProcessError, ValueError):  # no git, no tree
        return {}
    return {"git_hash": commit, "git_date": date}


def require_gpus(wanted: Any) -> None:
    """Refuse a number of GPUs that this machine does not have.

    It takes milliseconds and imports nothing, so it comes before torch. What it cannot
    find out, torch says later.

    Args:
        wanted: A number as given on a command line; anything else is left to the parser
            of the command.

    Raises:
        SVError: There are fewer GPUs.
    """
    text = str(wanted)
    if not text.isascii() or not text.isdigit() or int(text) <= 0:
        return
    found = count_gpus()
    if found is not None and found < int(text):
        has = f"has only {found} usable GPU(s)" if found else "has no usable GPU"
        raise SVError(f"--ngpu {text}: this machine {has}; give --ngpu {found}")


def _load(library: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(library)
    except OSError:
        return None


def count_gpus() -> int | None:
    """Count the NVIDIA GPUs that a process may use, as their driver knows them.

    The CUDA library is not initialised, as processes that are forked later could not
    use it then.

    Returns:
        Their number; None if it is not known, as with GPUs of other makes.
    """
    if Path("/dev/kfd").exists():  # AMD's driver
        return None
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if chosen is None else [n for n in chosen.split(",") if n.strip()]
    if names is not None and (not names or names[0].strip() == "-1"):
        return 0
    nvml = _load("libnvidia-ml.so.1")
    if nvml is None:  # without a driver, or on a Jetson
        return 0 if _load("libcuda.so.1") is None else None
    count = ctypes.c_uint()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return None
    nvml.nvmlShutdown()
    # an entry may be a part of a GPU, so that there are more of them
    return count.value if names is None else len(names)
