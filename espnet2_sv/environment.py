"""Versions of what computes a result, as ESPnet's pages of results list them."""

import runpy
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path


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
