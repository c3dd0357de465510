import subprocess
import sys

import torch

import espnet2
import espnet2_sv
from espnet2_sv.environment import describe_environment

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]


def test_versions_are_those_in_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert describe_environment() == {
        "python": sys.version.replace("\n", " ").replace("  ", " "),
        "espnet": espnet2.__version__,
        "torch": torch.__version__,
        "espnet2_sv": espnet2_sv.__version__,
    }


def test_the_commit_is_that_of_the_working_directory(tmp_path, monkeypatch):
    def git(*words):
        return subprocess.run(
            [*GIT, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "egs2").mkdir()
    monkeypatch.chdir(tmp_path / "egs2")
    assert "git_hash" not in describe_environment()  # no commit yet
    git("commit", "--quiet", "--allow-empty", "--message", "one")
    found = describe_environment()
    assert found["git_hash"] == git("rev-parse", "HEAD")
    assert found["git_date"] == git("log", "-1", "--format=%cd")
    monkeypatch.setenv("PATH", "")
    assert "git_hash" not in describe_environment()  # no git
