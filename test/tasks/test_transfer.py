import shutil

import pytest
import torch
import yaml

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.errors import SVError
from espnet2_sv.tasks import get_task
from espnet2_sv.tasks.transfer import SVTransferTask


def weights(folder, name="latest.pth"):
    return torch.load(folder / name, weights_only=True)


def config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


@pytest.fixture
def train(training_command):
    def run(folder, **options):
        SVTransferTask.main(cmd=training_command(folder, **options))
        return folder

    return run


def blocks_of_stock_encoder(bundle, speech):
    """Block outputs of ESPnet's ASR model, from return_all_hs."""
    model = bundle.model
    lengths = torch.full((len(speech),), speech.shape[1])
    feats, feat_lengths = model.frontend(speech, lengths)
    feats, feat_lengths = model.normalize(feats, feat_lengths)
    (_, blocks), _, _ = model.encoder(feats, feat_lengths, return_all_hs=True)
    return blocks


def test_at_step_0_the_blocks_are_those_of_the_asr_encoder(train, asr_exp, tmp_path):
    folder = train(
        tmp_path / "exp", asr=asr_exp, optim_conf="lr=0.0", freeze_encoder_epochs=1
    )
    model, _ = get_task("transfer").build_model_from_file(
        folder / "config.yaml", folder / "latest.pth"
    )
    speech = torch.randn(2, 12000)
    ours, _ = model.eval().backbone(speech, torch.tensor([12000, 12000]))
    stocks = blocks_of_stock_encoder(load_asr_bundle(asr_exp), speech)
    for ours_i, stock in zip(ours, stocks, strict=True):
        torch.testing.assert_close(ours_i, stock, atol=1e-6, rtol=0)


def test_the_encoder_is_trained_only_after_the_frozen_epochs(train, asr_exp, tmp_path):
    asr = load_asr_bundle(asr_exp).model.state_dict()
    folder = train(tmp_path / "exp", asr=asr_exp, freeze_encoder_epochs=1, max_epoch=1)
    encoder = {
        k: v for k, v in weights(folder).items() if k.startswith("backbone.encoder.")
    }
    assert any("running_mean" in k for k in encoder)
    for name, tensor in encoder.items():
        assert torch.equal(tensor, asr[name.removeprefix("backbone.")]), name
    optimizer = torch.load(folder / "checkpoint.pth", weights_only=True)["optimizers"][
        0
    ]
    trained = sum(v["exp_avg"].numel() for v in optimizer["state"].values())
    head_and_loss = [
        v
        for k, v in weights(folder).items()
        if not k.startswith("backbone.")
        and "running_" not in k
        and "num_batches" not in k
    ]
    assert trained == sum(v.numel() for v in head_and_loss)

    train(folder, asr=asr_exp, freeze_encoder_epochs=1, max_epoch=2, resume="true")
    moved = weights(folder)
    name = "encoder.encoders.0.feed_forward.w_1.weight"
    assert not torch.equal(moved[f"backbone.{name}"], asr[name])
    final_norm = "encoder.after_norm.weight"
    assert torch.equal(moved[f"backbone.{final_norm}"], asr[final_norm])


def test_loading_and_resuming_do_not_need_the_asr_model(train, asr_exp, tmp_path):
    asr = shutil.copytree(asr_exp, tmp_path / "asr")
    folder = train(tmp_path / "exp", asr=asr)
    shutil.rmtree(asr)
    get_task("transfer").build_model_from_file(
        folder / "config.yaml", folder / "latest.pth"
    )
    train(folder, asr=asr, max_epoch=2, resume="true")
    assert (folder / "2epoch.pth").exists()
    assert config(folder)["asr_init"]["source"] == str(asr)


def test_a_fine_tuned_model_is_rebuilt_from_its_config(train, asr_exp, tmp_path):
    folder = train(tmp_path / "exp", asr=asr_exp)
    tuned = train(tmp_path / "lmft", init_sv=folder, freeze_encoder_epochs=0)
    model, _ = get_task("transfer").build_model_from_file(
        tuned / "config.yaml", tuned / "latest.pth"
    )
    assert model.backbone.num_blocks == 3


def test_resuming_with_another_asr_model_is_rejected(train, asr_exp, tmp_path):
    folder = train(tmp_path / "exp", asr=asr_exp)
    with pytest.raises(SVError, match="was initialised from the ASR model"):
        train(folder, asr=tmp_path / "other", max_epoch=2, resume="true")


def test_asr_num_blocks_limits_the_encoder(train, asr_exp, tmp_path):
    folder = train(tmp_path / "exp", asr=asr_exp, asr_num_blocks=2, dry_run="true")
    assert config(folder)["encoder_conf"]["num_blocks"] == 2


def test_gradient_checkpointing_trains_the_same_model(train, asr_exp, tmp_path):
    options = {"asr": asr_exp, "freeze_encoder_epochs": 1, "max_epoch": 2}
    plain = train(tmp_path / "plain", **options)
    saving = train(tmp_path / "saving", **options, grad_checkpointing="true")
    assert config(saving)["grad_checkpointing"]
    others = weights(plain)
    for name, tensor in weights(saving).items():
        assert torch.equal(tensor, others[name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give --asr"),
        (
            {"encoder_conf": "rel_pos_type=legacy"},
            "rel_pos_type: fixed by the pretrained encoder",
        ),
        ({"asr_num_blocks": 4}, "blocks 1 to 3"),
        ({"asr": "nobody/nothing-here"}, "nobody/nothing-here"),
        (
            {"scheduler": "exponentialdecaywarmup"},
            "sets one learning rate for all",
        ),
    ],
)
def test_invalid_options_are_rejected(
    train, asr_exp, tmp_path, monkeypatch, options, message
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asr = {"asr": asr_exp} if options and "asr" not in options else {}
    with pytest.raises(SVError, match=message):
        train(tmp_path / "exp", **asr, **options)
