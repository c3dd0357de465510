import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import espnet2
import espnet2_sv
from espnet2_sv import environment
from espnet2_sv.bin import sv_train
from espnet2_sv.environment import describe_environment
from espnet2_sv.errors import SVError

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


COMMANDS = ("sv_embed", "sv_joint", "sv_score_norm", "sv_layer_probe")
COMMANDS += ("sv_teacher_posteriors", "sv_train", "sv_transfer_train")
COMMANDS += ("sv_adaptor_train", "sv_distill_train")
REFUSED = """
import importlib, sys
from espnet2_sv.errors import SVError
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"espnet2_sv.bin.{name}").main(["--ngpu", "1"])
    except SVError as e:
        print(e)
assert "torch" not in sys.modules
"""


def test_a_gpu_that_is_not_there_is_told_before_torch_is_imported(tmp_path):
    for hidden in ("", "-1"):
        done = subprocess.run(
            [sys.executable, "-c", REFUSED, *COMMANDS],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": hidden, "PLAIN_PYTHON": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        line = "--ngpu 1: this machine has no usable GPU; give --ngpu 0\n"
        assert done.stdout == line * len(COMMANDS)
    config = tmp_path / "train.yaml"
    config.write_text("ngpu: 2\n")
    assert sv_train.first_words(["--config", str(config)]).ngpu == 2


class Driver:
    """Stands in for NVIDIA's management library."""

    def __init__(self, count, status=0):
        self.count, self.status = count, status

    def nvmlInit_v2(self):
        return self.status

    def nvmlShutdown(self):
        return 0

    def nvmlDeviceGetCount_v2(self, pointer):
        pointer._obj.value = self.count
        return 0


@pytest.mark.parametrize(
    ("libraries", "chosen", "found"),
    [
        ({}, None, 0),
        ({"libcuda.so.1": object()}, None, None),  # of a Jetson
        ({"libnvidia-ml.so.1": Driver(4)}, None, 4),
        ({"libnvidia-ml.so.1": Driver(4)}, "2,3", 2),
        ({"libnvidia-ml.so.1": Driver(4)}, "", 0),
        ({"libnvidia-ml.so.1": Driver(4, status=9)}, None, None),
    ],
)
def test_gpus_are_counted_as_their_driver_knows_them(
    libraries, chosen, found, monkeypatch
):
    if Path("/dev/kfd").exists():
        pytest.skip("a machine with AMD's driver")
    monkeypatch.setattr(environment, "_load", libraries.get)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert environment.count_gpus() == found
    for wanted in (None, 0, "0", "many", "-1"):
        environment.require_gpus(wanted)
    if found == 2:
        environment.require_gpus("2")
        with pytest.raises(SVError, match="has only 2 usable"):
            environment.require_gpus(3)
