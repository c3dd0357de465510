"""Two gloo processes on one machine, started like those of a cluster scheduler."""

import socket
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.execution_timeout(600)


def start(command, rank: int, port: int) -> subprocess.Popen:
    distributed = {
        "multiprocessing_distributed": "false",
        "dist_world_size": 2,
        "dist_backend": "gloo",
        "dist_master_addr": "localhost",
        "dist_master_port": port,
        "dist_rank": rank,
        "ngpu": 0,
    }
    options = [part for k, v in distributed.items() for part in (f"--{k}", str(v))]
    return subprocess.Popen(
        [sys.executable, "-m", "espnet2_sv.bin.sv_transfer_train", *command, *options],
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


@pytest.fixture
def run_two(training_command, asr_exp):
    def run(folder, **options):
        command, port = training_command(folder, asr=asr_exp, **options), free_port()
        processes = [start(command, rank, port) for rank in range(2)]
        try:
            return [(p.communicate()[1], p.returncode) for p in processes]
        finally:
            for p in processes:
                p.kill()

    return run


def test_two_processes_train_unfreeze_validate_and_resume(run_two, asr_exp, tmp_path):
    config = tmp_path / "train.yaml"  # must not be read as the config of the ASR model
    config.write_text("head: mfa\nloss: aamsoftmax\n")
    options = {"freeze_encoder_epochs": 1, "log_level": "INFO", "config": config}
    for max_epoch in (1, 2):  # the second run resumes frozen and unfreezes
        results = run_two(tmp_path, max_epoch=max_epoch, resume="true", **options)
        assert [code for _, code in results] == [0, 0], results[0][0][-2000:]
    reporter = torch.load(tmp_path / "checkpoint.pth", weights_only=True)["reporter"]
    assert reporter["stats"][2]["valid"]["n_trials"] == 66
    trained = torch.load(tmp_path / "latest.pth", weights_only=True)
    asr = torch.load(asr_exp / "valid.acc.ave.pth", weights_only=True)
    name = "encoder.encoders.0.feed_forward.w_1.weight"
    assert not torch.equal(trained[f"backbone.{name}"], asr[name])


def test_a_port_in_use_is_reported_in_one_line(training_command, asr_exp, tmp_path):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(training_command(tmp_path / "exp", asr=asr_exp), 0, port)
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert f"port {port}" in stderr.splitlines()[-1]
    assert "choose another port" in stderr.splitlines()[-1]
