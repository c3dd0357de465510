"""Recipes run in a copy of the project, so that they neither need nor touch anyone's exp/.

No limit here is one of speed: what hangs is ended by the limit of the test.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = ("data", "dump", "exp", "downloads")  # by recipes
NOT_COPIED = shutil.ignore_patterns(
    ".*_cache", "__pycache__", "venv", "*.egg-info", ".git", ".hypothesis"
)


class Recipe:
    """A recipe's folder in a copy of the project."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = os.environ | {"HOME": str(folder / "home")}

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess:
        """Run to the end, with further variables; what it prints is in ``stdout``."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def kill_when(self, there: str, *command: str) -> None:
        """Start a command and kill all its processes once a file or folder is there."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not any(self.folder.glob(there)):
            assert process.poll() is None, f"ended before {there} was there"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def read(self, name: str) -> str:
        """The text of a file in the recipe's folder."""
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def copied_recipe(tmp_path_factory):
    """Return a function from a recipe's name to the recipe in a fresh copy of the project."""

    def copy(name: str) -> Recipe:
        project = tmp_path_factory.mktemp("project") / "espnet2_sv"
        shutil.copytree(ROOT, project, symlinks=True, ignore=_ignored)
        recipe = Recipe(project / "egs2" / name)
        (recipe.folder / "home").mkdir()
        return recipe

    return copy


def _ignored(folder: str, names: list[str]) -> set[str]:
    in_recipe = Path(folder).relative_to(ROOT).parts[:1] == ("egs2",)
    return NOT_COPIED(folder, names) | (
        {n for n in names if n in MADE} if in_recipe else set()
    )
