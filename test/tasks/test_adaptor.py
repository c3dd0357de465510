import shutil

import pytest
import torch

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.errors import SVError
from espnet2_sv.tasks.adaptor import SVAdaptorTask

SMALL_HEAD = [
    part
    for conf in ("embed_dim=8", "adaptor_dim=8", "linear_units=16", "kernel=7")
    for part in ("--head_conf", conf)
]


@pytest.fixture
def train(training_command, asr_exp):
    def run(folder, **options):
        command = training_command(folder, **{"asr": asr_exp} | options)
        SVAdaptorTask.main(cmd=command + SMALL_HEAD)
        return folder

    return run


@pytest.fixture
def other_asr(asr_exp, tmp_path):
    """The same ASR model with one weight changed."""
    folder = shutil.copytree(asr_exp, tmp_path / "other_asr")
    state = torch.load(folder / "valid.acc.ave.pth", weights_only=True)
    state["encoder.after_norm.bias"][0] += 1.0
    torch.save(state, folder / "valid.acc.ave.pth")
    return folder


def load(folder, **kwargs):
    return SVAdaptorTask.build_model_from_file(
        folder / "config.yaml", folder / "latest.pth", **kwargs
    )


def test_the_asr_encoder_stays_bit_identical(train, asr_exp, tmp_path):
    asr = load_asr_bundle(asr_exp).model.state_dict()
    model, _ = load(train(tmp_path / "exp", max_epoch=2))
    model.train()
    speech = torch.randn(4, 12000)
    loss, _, _ = model(speech, torch.full((4,), 12000), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    frozen = model.backbone.frozen_module
    assert not frozen.training
    assert any("running_var" in name for name in frozen.state_dict())
    for name, tensor in frozen.state_dict().items():
        assert torch.equal(tensor, asr[name].to(tensor.dtype)), name
    assert all(p.grad is None for p in frozen.parameters())


def test_blocks_above_the_last_one_read_are_not_computed(train, tmp_path):
    model, _ = load(train(tmp_path / "exp", head_conf="read_blocks=[1]"))
    computed = []
    blocks = model.backbone.frozen_module.encoder.encoders
    for block in blocks:
        block.register_forward_hook(lambda block, *_: computed.append(block))
    model.embed(torch.randn(2, 12000), torch.tensor([12000, 9000]))
    assert len(blocks) > 1
    assert computed == [blocks[0]]


def test_only_adaptor_and_classifier_are_trained_and_saved(train, tmp_path):
    folder = train(tmp_path / "exp")
    state = torch.load(folder / "latest.pth", weights_only=True)
    assert {name.split(".")[0] for name in state} == {"head", "loss", "backbone"}
    assert [name for name in state if name.startswith("backbone")] == [
        "backbone.asr_sha256"
    ]
    optimizer = torch.load(folder / "checkpoint.pth", weights_only=True)["optimizers"][
        0
    ]
    model, _ = load(folder)
    assert sum(v["exp_avg"].numel() for v in optimizer["state"].values()) == sum(
        p.numel() for part in (model.head, model.loss) for p in part.parameters()
    )


def test_resuming_equals_uninterrupted_training(train, tmp_path):
    straight = train(tmp_path / "straight", max_epoch=2)
    broken = train(tmp_path / "broken", max_epoch=1)
    train(broken, max_epoch=2, resume="true")
    states = [
        torch.load(f / "latest.pth", weights_only=True) for f in (straight, broken)
    ]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_other_asr_weights_are_rejected_with_both_hashes(
    train, asr_exp, other_asr, tmp_path
):
    folder = train(tmp_path / "exp")
    hashes = [load_asr_bundle(a).weights_sha256 for a in (asr_exp, other_asr)]
    with pytest.raises(SVError, match=f"{hashes[0]}, not on {hashes[1]}"):
        load(folder, asr=other_asr)
    with pytest.raises(SVError, match=hashes[1]):
        train(folder, asr=other_asr, resume="true", max_epoch=2)


def test_a_moved_asr_model_can_be_given(train, asr_exp, tmp_path):
    asr = shutil.copytree(asr_exp, tmp_path / "asr")
    folder = train(tmp_path / "exp", asr=asr)
    reference, _ = load(folder)
    asr = asr.rename(tmp_path / "elsewhere")
    moved, _ = load(folder, asr=asr)
    speech, lengths = torch.randn(1, 16000), torch.tensor([16000])
    assert torch.equal(
        reference.eval().embed(speech, lengths), moved.eval().embed(speech, lengths)
    )


def test_fine_tuning_starts_from_the_trained_adaptor(train, training_command, tmp_path):
    folder = train(tmp_path / "exp")
    tuned = train(
        tmp_path / "lmft", init_sv=folder, loss_conf="margin=0.5", optim_conf="lr=0.0"
    )
    name = "head.projection.linear.weight"
    states = [torch.load(f / "latest.pth", weights_only=True) for f in (folder, tuned)]
    assert torch.equal(states[0][name], states[1][name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"asr": ""}, "give --asr"),
        ({"head_conf": "read_blocks=[9]"}, "blocks 1 to 3"),
        ({"grad_checkpointing": "true"}, "--grad_checkpointing: .* is frozen"),
    ],
)
def test_invalid_options_are_rejected(train, tmp_path, options, message):
    with pytest.raises(SVError, match=message):
        train(tmp_path / "exp", **options)
