#!/usr/bin/env python3
"""Table of what an installation has, what it lacks, and the command that mends it.

    . tools/activate_python.sh && python3 tools/check_install.py

Exit status 1 if something is missing that is needed. Only the standard library is
needed to run.
"""

import argparse
import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NEEDED, OPTIONAL = "needed", "optional"
SET_UP = "tools/setup_env.sh"
MIN_ESPNET = 202611
MIN_FREE_GB = 2  # mini_an4 writes less; a VoxCeleb experiment needs its own estimate


class Row(NamedTuple):
    """One line of the table."""

    name: str
    kind: str  # NEEDED or OPTIONAL
    found: str  # version or short description; "" if it is missing
    mend: str  # what to run or do if it is missing


class Package(NamedTuple):
    """A Python package and what it is for."""

    name: str  # as imported
    kind: str
    use: str
    install: str = (
        ""  # the package's name for pip, if installing it is not a part of set-up
    )


PACKAGES = [
    Package("espnet2_sv", NEEDED, "this project"),
    Package("espnet2", NEEDED, f"ESPnet >= {MIN_ESPNET}"),
    Package("torch", NEEDED, "networks"),
    Package("torchaudio", NEEDED, "ESPnet's front ends"),
    Package("numpy", NEEDED, "arrays"),
    Package("scipy", NEEDED, "calibration"),
    Package("yaml", NEEDED, "configurations"),
    Package("kaldiio", OPTIONAL, "tests compare arks with it"),
    Package("soxr", NEEDED, "resampling"),
    Package("sentencepiece", NEEDED, "ASR tokens"),
    Package("huggingface_hub", NEEDED, "models by tag, upload"),
    Package("espnet_model_zoo", NEEDED, "models by tag"),
    Package("tqdm", NEEDED, "progress bars"),
    Package("av", NEEDED, "m4a without ffmpeg"),
    Package("tensorboard", NEEDED, "training curves"),
    Package("matplotlib", NEEDED, "training curves, DET plots"),
    Package("editdistance", NEEDED, "error rates of ASR training"),
    Package("warprnnt_pytorch", OPTIONAL, "transducer ASR models", "warprnnt-pytorch"),
    Package("flash_attn", OPTIONAL, "faster attention on GPUs", "flash-attn"),
    Package("wandb", OPTIONAL, "--use_wandb true", "wandb"),
    Package("pytest", OPTIONAL, "ci/test.sh"),
    Package("hypothesis", OPTIONAL, "ci/test.sh"),
    Package("sklearn", OPTIONAL, "ci/test.sh"),
]
PROGRAMS = [  # name, kind, Debian package
    ("bash", NEEDED, "bash"),
    ("perl", NEEDED, "perl"),
    ("flock", NEEDED, "util-linux"),
    ("git", OPTIONAL, "git"),
    ("ruff", OPTIONAL, ""),
    ("mypy", OPTIONAL, ""),
    ("shellcheck", OPTIONAL, ""),
    ("bats", OPTIONAL, ""),
]


def version_of(module) -> str:
    """The version of an imported module or its distribution, or ``installed``."""
    if getattr(module, "__version__", None):
        return str(module.__version__)
    names = importlib.metadata.packages_distributions().get(module.__name__, [])
    return importlib.metadata.version(names[0]) if names else "installed"


def check_python() -> Iterator[Row]:
    """The interpreter."""
    fits = (3, 12) <= sys.version_info[:2] <= (3, 13)
    version = sys.version.split()[0]
    yield Row(
        "Python",
        NEEDED,
        version if fits else "",
        f"{version} is not 3.12 or 3.13: {SET_UP}",
    )


def check_package(package: Package) -> Iterator[Row]:
    """One Python package, by importing it."""
    mend = f"pip install {package.install}" if package.install else SET_UP
    name = f"{package.name} ({package.use})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(package.name)
    except ImportError:
        yield Row(name, package.kind, "", mend)
    except (
        Exception
    ) as e:  # an import can fail in any way, e.g. a library of another CUDA
        yield Row(
            name, package.kind, "", f"does not load ({type(e).__name__}: {e}): {mend}"
        )
    else:
        version = version_of(module)
        if package.name == "espnet2" and int(version.split(".")[0]) < MIN_ESPNET:
            version, mend = "", f"is {version}: {mend}"
        yield Row(name, package.kind, version, mend)


def check_gpu() -> Iterator[Row]:
    """CUDA, as torch sees it."""
    try:
        import torch
    except ImportError:
        return
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mend = (
        "CPU only: run with --ngpu 0 (training on VoxCeleb wants a GPU and its driver)"
    )
    yield Row("CUDA GPU", OPTIONAL, ", ".join(gpus), mend)


def check_audio() -> Iterator[Row]:
    """The audio formats that soundfile reads."""
    try:
        import soundfile
    except (ImportError, OSError) as e:  # OSError: without libsndfile
        yield Row("soundfile (audio files)", NEEDED, "", f"{e}: {SET_UP}")
        return
    formats = soundfile.available_formats()
    for name, extension in [
        ("WAV", "wav"),
        ("FLAC", "flac"),
        ("OGG", "ogg"),
        ("NIST", "sph"),
    ]:
        found = (
            f"libsndfile {soundfile.__libsndfile_version__}" if name in formats else ""
        )
        yield Row(
            f"{extension} files", NEEDED, found, "pip install --upgrade soundfile"
        )
    found = "libsndfile" if "MP3" in formats else ""
    yield Row(
        "mp3 files",
        OPTIONAL,
        found,
        "pip install --upgrade soundfile (libsndfile >= 1.1)",
    )


def check_program(name: str, kind: str, debian: str) -> Iterator[Row]:
    """A program on PATH."""
    yield Row(
        name,
        kind,
        shutil.which(name) or "",
        f"apt-get install {debian}" if debian else SET_UP,
    )


def check_disk() -> Iterator[Row]:
    """Room for experiments, and the right to write them."""
    free = shutil.disk_usage(ROOT).free / 1e9
    found = f"{free:.0f} GB free" if free > MIN_FREE_GB else ""
    yield Row("disk", NEEDED, found, f"{free:.1f} GB free; {MIN_FREE_GB} GB are needed")
    found = "writable" if os.access(ROOT / "egs2", os.W_OK) else ""
    yield Row(
        "recipes",
        NEEDED,
        found,
        f"{ROOT / 'egs2'} cannot be written to: clone elsewhere",
    )


def check_cluster() -> Iterator[Row]:
    """A job scheduler, for cmd.sh."""
    for program, backend in [("sbatch", "slurm"), ("qsub", "sge or pbs")]:
        if shutil.which(program):
            yield Row(
                f"{program} (scheduler)",
                OPTIONAL,
                f"cmd_backend={backend} in cmd.sh",
                "",
            )


def check_cuda_driver() -> Iterator[Row]:
    """Whether the machine has a GPU that torch does not see."""
    if not shutil.which("nvidia-smi"):
        return
    listed = subprocess.run(
        ["nvidia-smi", "-L"], capture_output=True, text=True, check=False
    )
    if listed.stdout.startswith("GPU"):
        import torch

        found = "seen by torch" if torch.cuda.is_available() else ""
        mend = (
            f"torch {torch.__version__} wants CUDA {torch.version.cuda}: update the"
            " driver"
        )
        yield Row("NVIDIA driver", OPTIONAL, found, mend)


def collect() -> list[Row]:
    """All the checks."""
    checks: list[Callable[[], Iterator[Row]]] = [check_python]
    checks += [lambda p=p: check_package(p) for p in PACKAGES]
    checks += [check_audio, check_gpu, check_cuda_driver]
    checks += [lambda p=p: check_program(*p) for p in PROGRAMS]
    checks += [check_cluster, check_disk]
    return [row for check in checks for row in check()]


def main(cmd: list[str] | None = None) -> int:
    """Print the table; the exit status is 1 if something needed is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args(cmd)
    rows = collect()
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = "ok" if row.found else ("MISSING" if row.kind == NEEDED else "-")
        print(f"{row.name:{width}}  {state:7}  {row.found or row.mend}")
    missing = [row for row in rows if row.kind == NEEDED and not row.found]
    if missing:
        print(f"\n{len(missing)} needed: " + ", ".join(row.name for row in missing))
        return 1
    print("\nNothing that is needed is missing ('-': optional).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
