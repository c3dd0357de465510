"""Training with two torchrun processes gives the same results as with one."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from kaldi_reference import kaldiio

from espnet2_sv.bin import (
    sv_adaptor_train,
    sv_distill_train,
    sv_embed,
    sv_train,
    sv_transfer_train,
)

pytestmark = pytest.mark.execution_timeout(600)

STEPS = 4
DROPOUT = [
    part
    for kind in ("", "positional_", "attention_")
    for part in ("--encoder_conf", f"{kind}dropout_rate=0")
]
SETTINGS = {
    "batch_size": 8,
    "num_iters_per_epoch": 1,  # the mean loss of an epoch is the loss of its only step
    "optim": "sgd",  # adaptive optimizers amplify rounding errors
    "optim_conf": "lr=0.002",
    "lr_schedule": f"total_steps={STEPS}",
    "margin_schedule": "to_epoch=3",
    "resume": "true",
    "ngpu": 0,
}


def run_two(module: str, command) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc_per_node=2", "-m", f"espnet2_sv.bin.{module}", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def stats(exp) -> dict[int, dict]:
    return torch.load(exp / "checkpoint.pth", weights_only=True)["reporter"]["stats"]


def embeddings(scp) -> dict[str, np.ndarray]:
    return dict(kaldiio.load_scp(str(scp)).items())


def test_one_and_two_processes_agree_and_continue_each_others_training(
    training_command, small_network, corpus, tmp_path
):
    network = [*small_network, *DROPOUT]
    single, distributed = tmp_path / "single", tmp_path / "distributed"
    sv_train.main([*training_command(single, max_epoch=STEPS, **SETTINGS), *network])
    for max_epoch, processes in ((1, 2), (2, 1), (STEPS, 2)):
        options = training_command(distributed, max_epoch=max_epoch, **SETTINGS)
        if processes == 2:
            run_two("sv_train", [*options, *network])
        else:
            sv_train.main([*options, *network])

    expected, found = stats(single), stats(distributed)
    for epoch in range(1, STEPS + 1):
        loss = expected[epoch]["train"]["loss"]
        assert found[epoch]["train"]["loss"] == pytest.approx(loss, rel=1e-5)
        assert found[epoch]["valid"]["eer"] == expected[epoch]["valid"]["eer"]
    weights = [
        torch.load(exp / "latest.pth", weights_only=True)
        for exp in (single, distributed)
    ]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-5, atol=1e-6)

    wavs = ["--wav_scp", f"{corpus.root}/wav.scp"]
    for model in (single, distributed):
        out = ["--model", str(model), *wavs, "--output_dir", str(model / "embedded")]
        for shard in ("1/2", "2/2") if model is distributed else ():
            sv_embed.main([*out, "--shard", shard])
        sv_embed.main(out)
    vectors = [
        embeddings(exp / "embedded" / "xvector.scp") for exp in (single, distributed)
    ]
    assert vectors[0].keys() == vectors[1].keys()
    for name, vector in vectors[0].items():
        np.testing.assert_allclose(vectors[1][name], vector, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (sv_transfer_train, [*DROPOUT, "--freeze_encoder_epochs", "1"]),
        (
            sv_adaptor_train,
            ["--head_conf", "dropout_rate=0", "--head_conf", "kernel=7"],
        ),
        (
            sv_distill_train,
            [*DROPOUT, "--branch_conf", "dropout_rate=0", "--init_asr", "teacher"],
        ),
    ],
    ids=["transfer", "adaptor", "distill"],
)
def test_losses_agree_for_every_task(
    module, options, training_command, asr_exp, tmp_path
):
    config = tmp_path / "train.yaml"  # must not be read as the config of the ASR model
    config.write_text("loss: aamsoftmax\n")
    settings = SETTINGS | {"asr": asr_exp, "max_epoch": 2, "config": config}
    module.main([*training_command(tmp_path / "single", **settings), *options])
    name = module.__name__.split(".")[-1]
    run_two(name, [*training_command(tmp_path / "distributed", **settings), *options])
    expected, found = stats(tmp_path / "single"), stats(tmp_path / "distributed")
    for epoch in (1, 2):
        for key in {"loss", "loss_kd"} & expected[epoch]["train"].keys():
            loss = expected[epoch]["train"][key]
            assert found[epoch]["train"][key] == pytest.approx(loss, rel=1e-5)
