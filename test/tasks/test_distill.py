import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from espnet2.tasks.asr import ASRTask
from espnet2_sv import SpeakerVerifier
from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.data.audio import read_audio
from espnet2_sv.errors import SVError
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.tasks.distill import SVDistillTask
from espnet2_sv.tasks.sv import SVTask

pytestmark = pytest.mark.execution_timeout(600)

WORKER = Path(__file__).with_name("distill_worker.py")
BRANCH = ["--branch_conf", "num_blocks=1"]
BRANCH += ["--branch_conf", "heads=2", "--branch_conf", "kernel=7"]
NO_BLOCKS = ["--branch_conf", "num_blocks=0"]
STOCK = {
    "ecapa_tdnn": {"ndim": 16, "output_size": 24},
    # with fewer channels, PyTorch crashes in channels_last on CPUs without AVX-512
    "resnet": {"m_channels": 12},
    "ska_tdnn": {"ndim": 16, "ska_dim": 4, "output_size": 24},
}


def stock(encoder: str, projector: str = "rawnet3") -> list[str]:
    """Options of an ESPnet speaker encoder with its pooling and projector."""
    options = ["--encoder", encoder, "--head", "pooled"]
    options += ["--head_conf", f"projector={projector}"]
    for key, value in STOCK[encoder].items():
        options += ["--encoder_conf", f"{key}={value}"]
    return options


def weights(folder, name="latest.pth"):
    return torch.load(folder / name, weights_only=True)


def config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


def stats(folder, epoch=1):
    reporter = torch.load(folder / "checkpoint.pth", weights_only=True)["reporter"]
    return reporter["stats"][epoch]["train"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Use a cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def train(training_command, asr_exp):
    def run(folder, network, task=SVDistillTask, **options):
        asr = {"asr": asr_exp} if task is SVDistillTask else {}
        task.main(cmd=training_command(folder, **asr | options) + network)
        return folder

    return run


@pytest.fixture
def conformer(small_network):
    return [*small_network, *BRANCH]


def test_a_student_trains_packs_and_loads_without_its_teacher(
    train, asr_exp, conformer, tmp_path
):
    asr = shutil.copytree(asr_exp, tmp_path / "asr")
    folder = train(tmp_path / "exp" / "sv", conformer, asr=asr)
    assert set(stats(folder)) >= {
        "loss_spk",
        "loss_kd",
        "kd_agreement",
        "kd_teacher_blank",
    }
    shutil.rmtree(asr)
    trained, _ = load_speaker_model(folder)
    pack_model(folder, tmp_path / "model.zip")
    packed, _ = load_speaker_model(tmp_path / "model.zip")
    speech, lengths = torch.randn(2, 16000), torch.tensor([16000, 9000])
    assert torch.equal(trained.embed(speech, lengths), packed.embed(speech, lengths))
    assert any(name.startswith("branch.") for name in weights(folder))


def test_neither_checkpoint_nor_optimizer_nor_package_contains_the_teacher(
    train, asr_exp, conformer, tmp_path
):
    folder = train(tmp_path / "exp", conformer)
    state = weights(folder)
    assert {name.split(".")[0] for name in state} == {
        "backbone",
        "head",
        "loss",
        "branch",
    }
    trained = sum(
        tensor.numel()
        for name, tensor in state.items()
        if "running_" not in name
        and "num_batches" not in name
        and "after_norm" not in name  # not used by the student
        and "logmel" not in name
    )
    optimizer = weights(folder, "checkpoint.pth")["optimizers"][0]
    assert sum(v["exp_avg"].numel() for v in optimizer["state"].values()) == trained
    pack_model(folder, tmp_path / "model.zip")
    load_speaker_model(tmp_path / "model.zip")
    (packed,) = (tmp_path / "cache").rglob("*.pth")
    names = torch.load(packed, weights_only=True)
    assert {name.split(".")[0] for name in names} == {"backbone", "head", "loss"}


@pytest.mark.parametrize("network", ["conformer", "ecapa_tdnn"])
def test_lambda_0_equals_training_the_student_alone(
    train, small_network, tmp_path, network
):
    student = small_network if network == "conformer" else stock(network)
    options = {"max_epoch": 2, "optim_conf": "weight_decay=0.1"}
    plain = train(tmp_path / "plain", student, task=SVTask, **options)
    distilled = train(
        tmp_path / "kd", [*student, *BRANCH, "--kd_schedule", "value=0"], **options
    )
    for epoch in (1, 2):
        for key in ("loss", "acc"):
            assert stats(plain, epoch)[key] == stats(distilled, epoch)[key]
    theirs = weights(distilled)
    for name, tensor in weights(plain).items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize(
    ("encoder", "projector", "hop", "rate"),
    [
        ("ecapa_tdnn", "rawnet3", 160, 100.0),
        ("resnet", "xvector", 128, 15.625),
        ("ska_tdnn", "ska_tdnn", 160, 50.0),
    ],
)
@pytest.mark.parametrize("alignment", ["pool", "interpolate"])
def test_espnets_speaker_encoders_train_pack_and_verify(
    train, corpus, tmp_path, encoder, projector, hop, rate, alignment
):
    network = [*stock(encoder, projector), *BRANCH, "--branch_conf", "dim=8"]
    network += ["--frontend_conf", f"hop_length={hop}"]
    network += ["--kd_conf", f"alignment={alignment}"]
    network += ["--channels_last", "true" if alignment == "pool" else "false"]
    folder = train(tmp_path / "exp", network)
    assert 0 < stats(folder)["loss_kd"] < 20
    pack_model(folder, tmp_path / "model.zip")
    verifier = SpeakerVerifier.from_pretrained(tmp_path / "model.zip", vad=False)
    one, other = (read_audio(f"{corpus.root}/wav/spk0{i}-utt00.wav") for i in (0, 1))
    assert verifier.verify(one, one)["score"] == pytest.approx(1.0)
    assert verifier.verify(one, other)["score"] < 1.0
    model, args = load_speaker_model(folder)
    assert args.padding_sensitive
    (frames,), lengths = model.backbone(
        torch.randn(2, 16000), torch.tensor([16000, 16000])
    )
    assert model.backbone.frame_rate_hz == rate
    assert frames.shape[1] == lengths[0]
    assert abs(lengths[0] - rate) <= 1.01  # of one second


def test_a_student_initialised_from_its_teacher_has_zero_divergence(train, tmp_path):
    folder = train(
        tmp_path / "exp",
        NO_BLOCKS,
        init_asr="teacher",
        freeze_encoder_epochs=1,
        teacher_input="augmented",
        optim_conf="lr=0.0",
    )
    found = stats(folder)
    assert abs(found["loss_kd"]) < 1e-6
    assert found["kd_agreement"] == 1.0
    assert config(folder)["asr_init"] == config(folder)["asr_teacher"]


def test_a_student_initialised_from_asr_resumes_without_that_asr_model(
    train, asr_exp, tmp_path
):
    start = shutil.copytree(asr_exp, tmp_path / "start")
    folder = train(tmp_path / "exp", BRANCH, init_asr=start, asr_num_blocks=2)
    shutil.rmtree(start)
    train(folder, BRANCH, init_asr=start, asr_num_blocks=2, max_epoch=2, resume="true")
    assert config(folder)["encoder_conf"]["num_blocks"] == 2
    assert (folder / "2epoch.pth").exists()


def test_the_teacher_and_its_statistics_stay_bit_identical(
    train, asr_exp, conformer, tmp_path
):
    before = load_asr_bundle(asr_exp).model.state_dict()
    args = config(train(tmp_path / "exp", conformer))
    model = SVDistillTask.build_model(argparse.Namespace(**args))
    model.train()
    batch = torch.randn(4, 12000), torch.full((4,), 12000), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(*batch)[0].backward()
        optimizer.step()
    frozen = model.teacher.frozen_module
    assert not any(module.training for module in frozen.modules())
    for part, prefix in (("backbone", ""), ("ctc", "ctc.")):
        for name, tensor in getattr(frozen, part).state_dict().items():
            assert torch.equal(tensor, before[prefix + name].to(tensor.dtype)), name


def test_resuming_equals_uninterrupted_training(train, conformer, tmp_path):
    options = {"teacher_input": "clean"}
    schedule = ["--kd_schedule", "warmup_epochs=2", "--kd_schedule", "value=0.5"]
    straight = train(
        tmp_path / "straight", conformer + schedule, max_epoch=2, **options
    )
    broken = train(tmp_path / "broken", conformer + schedule, max_epoch=1, **options)
    train(broken, conformer + schedule, max_epoch=2, resume="true", **options)
    states = [weights(folder) for folder in (straight, broken)]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    assert [stats(broken, e)["kd_lambda"] for e in (1, 2)] == [0.25, 0.5]


def test_lambda_can_decay_to_0(train, conformer, tmp_path):
    schedule = ["--kd_schedule", "decay_from=1"]
    folder = train(tmp_path / "exp", conformer + schedule, max_epoch=2)
    assert "loss_kd" in stats(folder, 1)
    assert "loss_kd" not in stats(folder, 2)


def test_fine_tuning_a_student_needs_no_teacher(train, conformer, tmp_path):
    folder = train(tmp_path / "exp", conformer)
    tuned = train(tmp_path / "lmft", [], asr="", init_sv=folder, optim_conf="lr=0.0")
    name = "head.projection.linear.weight"
    assert torch.equal(weights(folder)[name], weights(tuned)[name])
    assert not any(key.startswith("branch.") for key in weights(tuned))


def test_resuming_with_another_teacher_is_rejected(train, asr_exp, conformer, tmp_path):
    folder = train(tmp_path / "exp", conformer)
    other = shutil.copytree(asr_exp, tmp_path / "other")
    state = weights(other, "valid.acc.ave.pth")
    state["ctc.ctc_lo.bias"][0] += 1.0
    torch.save(state, other / "valid.acc.ave.pth")
    with pytest.raises(SVError, match="had another ASR teacher"):
        train(folder, conformer, asr=other, max_epoch=2, resume="true")


def test_resuming_with_another_branch_is_rejected(train, conformer, tmp_path):
    folder = train(tmp_path / "exp", conformer)
    with pytest.raises(SVError, match="was trained with branch_conf"):
        train(folder, [*conformer, *NO_BLOCKS], max_epoch=2, resume="true")


@pytest.mark.parametrize(
    ("options", "network", "message"),
    [
        ({"asr": ""}, [], "give --asr"),
        ({}, ["--branch_conf", "layer=9"], "choose 1 to 3"),
        ({}, ["--branch_conf", "heads=3"], "not divisible by 3 heads"),
        ({}, ["--branch_conf", "layers=1"], "branch_conf"),
        ({}, ["--kd_conf", "top_k=0"], "top_k"),
        ({}, ["--kd_conf", "alignment=nearest"], "choose pool or interpolate"),
        ({}, ["--kd_schedule", "value=-1"], "must not be negative"),
        (
            {},
            ["--specaug", "specaug", "--specaug_conf", "apply_time_mask=false"],
            "set it to false",
        ),
        ({"sample_rate": 8000}, ["--frontend_conf", "fs=8000"], "expects 16000 Hz"),
    ],
)
def test_invalid_options_are_rejected(
    train, small_network, tmp_path, options, network, message
):
    with pytest.raises(SVError, match=message):
        train(tmp_path / "exp", [*small_network, *network], **options)


def test_a_teacher_without_ctc_is_rejected_with_the_reason(
    train, asr_exp, conformer, tmp_path
):
    no_ctc = shutil.copytree(asr_exp, tmp_path / "no_ctc")
    settings = config(no_ctc) | {
        "model_conf": {"ctc_weight": 0.0},
        "decoder": "transformer",
    }
    settings["decoder_conf"] = {
        "num_blocks": 1,
        "linear_units": 8,
        "attention_heads": 2,
    }
    (no_ctc / "config.yaml").write_text(yaml.safe_dump(settings))
    model = ASRTask.build_model(argparse.Namespace(**settings))
    torch.save(model.state_dict(), no_ctc / "valid.acc.ave.pth")
    with pytest.raises(SVError, match="trained without CTC"):
        train(tmp_path / "exp", conformer, asr=no_ctc)


def test_two_processes_have_the_loss_of_one_with_the_whole_batch(
    train, conformer, tmp_path
):
    blank = ["--kd_conf", "blank_weight=0.3", "--kd_conf", "blank_threshold=0.2"]
    folder = train(tmp_path / "exp", [*conformer, *blank])
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(config(folder) | {"resume": False}))

    def start(rank, world_size):
        command = [sys.executable, WORKER, settings, str(rank), str(world_size)]
        rendezvous = f"file://{tmp_path / 'init'}"
        return subprocess.Popen(
            [*command, rendezvous], stdout=subprocess.PIPE, text=True
        )

    processes = [start(0, 1), start(0, 2), start(1, 2)]
    try:
        one, *two = [json.loads(p.communicate()[0]) for p in processes]
    finally:
        for p in processes:
            p.kill()
    for key in ("loss", "kd"):
        mean = sum(process[key] for process in two) / 2
        assert mean == pytest.approx(one[key], rel=1e-5)
    # The processes have different data
    assert two[0]["kd"] != pytest.approx(two[1]["kd"], rel=1e-3)
    for process in two:
        assert process["gradients"] == pytest.approx(
            one["gradients"], rel=1e-3, abs=1e-6
        )


def test_the_student_learns_to_match_the_teacher_on_unseen_speech(
    train, conformer, tmp_path
):
    options = {
        "num_iters_per_epoch": 8,
        "optim_conf": "lr=0.005",
        "teacher_input": "augmented",
    }
    folder = train(tmp_path / "exp", conformer, max_epoch=4, **options)
    assert stats(folder, 4)["loss_kd"] < 0.5 * stats(folder, 1)["loss_kd"]
    assert stats(folder, 4)["kd_agreement"] > stats(folder, 1)["kd_agreement"]
    args = argparse.Namespace(**config(folder) | {"resume": False})
    torch.manual_seed(0)
    model = SVDistillTask.build_model(args).eval()
    t = torch.arange(24000) / 16000  # a pitch that is not in the corpus
    speech = (
        0.1 * sum(torch.sin(2 * torch.pi * 107 * k * t) / k for k in range(1, 9))[None]
    )
    results = []
    for state in (model.state_dict(), weights(folder)):
        model.load_state_dict(state)
        with torch.no_grad():
            _, found, _ = model(speech, torch.tensor([24000]), torch.tensor([0]))
        results.append((found["loss_kd"].item(), found["kd_agreement"].item()))
    assert results[1][0] < 0.5 * results[0][0]
    assert results[1][1] >= results[0][1]
