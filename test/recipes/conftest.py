"""Recipes run in a copy of the project, so that they neither use nor change its exp/.

No test depends on the speed of the machine; pytest's timeout ends tests that hang.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("data", "dump", "exp", "downloads")  # folders that recipes create
NOT_COPIED = shutil.ignore_patterns(
    ".*_cache", "__pycache__", "venv", "*.egg-info", ".git", ".hypothesis"
)

# The files that take longest, in this order, so that no process is left with a long one
# at the end while the others have nothing to do
LONGEST_FIRST = (
    "test_mini_an4_twice.py",
    "test_voxceleb.py",
    "test_mini_an4.py",
    "test_fotaq.py",
    "test_mini_an4_owsm.py",
    "test_upstream_check.py",
    "test_upstream_patch.py",
    "test_own_recordings.py",
)


def pytest_collection_modifyitems(items):
    """Begin with the recipes that take longest."""
    rank = {name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


class Recipe:
    """A recipe's folder in a copy of the project or in an ESPnet tree."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = os.environ | {"HOME": str(folder / "home")}
        (folder / "home").mkdir()

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess:
        """Run a command with further variables; ``stdout`` is all that it prints."""
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

    def kill_when(self, path: str, *command: str) -> None:
        """Start a command and kill all its processes once a file or folder exists."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not any(self.folder.glob(path)):
            assert process.poll() is None, f"ended before {path} existed"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run_with_kills(self, paths: list[str], *command: str) -> str:
        """Kill a command when each of the paths exists, then run it to the end.

        Returns:
            What the last run prints; it must succeed.
        """
        for path in paths:
            self.kill_when(path, *command)
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def update_config(self, name: str, changes: dict) -> None:
        """Change settings of a YAML file; mappings are merged one level deep."""
        config = self.folder / name
        settings = yaml.safe_load(config.read_text())
        config.unlink()  # it may be a link
        for key, value in changes.items():
            if isinstance(value, dict):
                value = settings.get(key, {}) | value
            settings[key] = value
        config.write_text(yaml.safe_dump(settings))

    def read(self, name: str) -> str:
        """Return the text of a file in the recipe's folder."""
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def copied_recipe(tmp_path_factory):
    """Return a function that puts a named recipe into a fresh copy of the project."""

    def copy(name: str) -> Recipe:
        project = tmp_path_factory.mktemp("project") / "espnet2_sv"
        shutil.copytree(ROOT, project, symlinks=True, ignore=_ignored)
        return Recipe(project / "egs2" / name)

    return copy


@pytest.fixture(scope="session")
def recipe_at():
    """Return the class above."""
    return Recipe


@pytest.fixture(scope="module")
def espnet_tree(tmp_path_factory):
    """A whole ESPnet tree of the installed release, with the plugin installed.

    Skipped with the reason where the source distribution cannot be downloaded.
    """
    shared = tmp_path_factory.getbasetemp().parent / "espnet"  # by all processes
    shared.mkdir(exist_ok=True)
    with FileLock(shared / "lock"):
        made = run_upstream("tree", shared / "tree")
    if "cannot be downloaded" in made.stdout:
        pytest.skip(made.stdout.strip())
    assert made.returncode == 0, made.stdout
    tree = tmp_path_factory.mktemp("espnet") / "tree"
    shutil.copytree(shared / "tree", tree, symlinks=True)
    done = run_upstream("install", tree)
    assert done.returncode == 0, done.stdout
    return tree


def run_upstream(*words, **env: str) -> subprocess.CompletedProcess:
    """Run tools/upstream.sh with more variables; ``stdout`` is all that it prints."""
    return subprocess.run(
        [ROOT / "tools/upstream.sh", *words],
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def upstream():
    """Return the function above."""
    return run_upstream


def _ignored(folder: str, names: list[str]) -> set[str]:
    in_recipe = Path(folder).relative_to(ROOT).parts[:1] == ("egs2",)
    return NOT_COPIED(folder, names) | (
        {n for n in names if n in GENERATED} if in_recipe else set()
    )
