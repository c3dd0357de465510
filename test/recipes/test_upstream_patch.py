"""The series of patches for ESPnet, applied to the release that is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
FIRST_TWO = {
    1: "test/espnet2/asr/frontend/test_espnet_asr.py",
    2: "test/espnet2/spk/encoder/test_speaker_adaptor_encoder.py",
}
LIMITS = (30, 1500)  # files and lines; ESPnet's CONTRIBUTING.md


def run(*command, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def git(tree: Path, *command) -> str:
    own = ("user.name=t", "user.email=t@localhost", "gc.auto=0", "safe.directory=*")
    options = [word for setting in own for word in ("-c", setting)]
    return run("git", *options, *command, cwd=tree)


def state(tree: Path) -> dict[str, tuple]:
    """What changes of files in a tree would change."""
    found = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            stat = os.lstat(path)
            found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


@pytest.fixture(scope="module")
def series(espnet_tree, upstream, tmp_path_factory):
    """A folder with the series, made from a tree into which the plugin is installed."""
    out = tmp_path_factory.mktemp("series") / "patches"
    before = state(espnet_tree)
    done = upstream("patch", espnet_tree, out)
    assert done.returncode == 0, done.stdout
    assert state(espnet_tree) == before
    return out


@pytest.fixture(scope="module")
def applied(series, espnet_tree, upstream):
    """A git repository of the release with the series on top."""
    done = upstream("remove", espnet_tree)
    assert done.returncode == 0, done.stdout
    git(espnet_tree, "init", "--quiet")
    git(espnet_tree, "add", "--all", "--force")
    git(espnet_tree, "commit", "--quiet", "--message", "release")
    git(espnet_tree, "tag", "patch0")
    for number, patch in enumerate(sorted(series.iterdir()), 1):
        git(espnet_tree, "am", "--quiet", patch)
        git(espnet_tree, "tag", f"patch{number}")
    git(espnet_tree, "tag", "last")
    return espnet_tree


def changes(tree: Path) -> list[list[tuple[int, str]]]:
    """Lines added and removed, and path, of each file of each patch."""
    log = git(
        tree, "log", "--reverse", "--numstat", "--format=tformat:*", "patch0..last"
    )
    return [
        [
            (int(added) + int(removed), path)
            for added, removed, path in re.findall(r"^(\d+)\t(\d+)\t(.*)$", part, re.M)
        ]
        for part in log.split("*\n")[1:]
    ]


def test_size_of_patches(applied):
    for patch in changes(applied):
        assert 0 < len(patch) <= LIMITS[0]
        assert 0 < sum(lines for lines, _ in patch) <= LIMITS[1]


def test_first_patches_need_nothing_of_this_project(applied):
    for number, tests in FIRST_TWO.items():
        git(applied, "checkout", "--quiet", f"patch{number}")
        assert not (applied / "espnet2_sv").exists()
        passed = run(
            *("python3", "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider"),
            *("-q", tests),
            cwd=applied,
            PYTHONPATH=str(applied),
            PLAIN_PYTHON="1",  # one that has not yet imported another espnet2
        )
        assert " passed" in passed and "skipped" not in passed


def test_whole_package_is_in_the_series_once(applied):
    paths = [path for patch in changes(applied) for _, path in patch]
    ours = sorted(path for path in paths if path.startswith("espnet2_sv/"))
    package = (ROOT / "espnet2_sv").rglob("*.py")
    assert ours == sorted(str(path.relative_to(ROOT)) for path in package)


def test_recipes_of_the_series_are_whole(applied):
    git(applied, "checkout", "--quiet", "last")
    for name in ("TEMPLATE", "mini_an4", "voxceleb"):
        folder = applied / "egs2" / name / "sv1"
        for path in folder.rglob("*"):
            assert path.exists(), f"{path} is a broken link"
            assert not os.path.isabs(os.readlink(path)) if path.is_symlink() else True
        run("bash", "-n", *folder.glob("*.sh"), *folder.glob("*/*.sh"), cwd=folder)
        assert os.access(folder / "run.sh", os.X_OK)
    assert not (applied / "egs2/fotaq").exists()
    help_text = run("./run.sh", "--help", cwd=applied / "egs2/mini_an4/sv1")
    assert "--sv_task" in help_text


def test_a_tree_that_has_a_patch(applied, tmp_path):
    git(applied, "checkout", "--quiet", "patch1")
    done = subprocess.run(
        [ROOT / "tools/upstream.sh", "patch", applied, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "contrib/espnet_asr/edits.diff does not fit" in line
    assert not (tmp_path / "out").exists()


def test_other_files_in_the_folder(series, espnet_tree, tmp_path):
    folder = shutil.copytree(series, tmp_path / "patches")
    (folder / "notes.txt").write_text("mine")
    done = subprocess.run(
        [ROOT / "tools/upstream.sh", "patch", espnet_tree, folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "holds other files than patches" in done.stderr
    assert (folder / "notes.txt").exists()
