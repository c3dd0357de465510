"""``--init_sv``: what is kept of a trained speaker model, and what may be set."""

import shutil

import pytest
import torch
import yaml

from espnet2_sv.bin import sv_train
from espnet2_sv.errors import SVError
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.packaging.pack import pack_model

STILL = {"optim_conf": "lr=0.0", "num_iters_per_epoch": 1, "max_epoch": 1}
SPEECH = torch.sin(torch.arange(16000) / 9)[None], torch.tensor([16000])


def config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


def pretrained(settings):
    return (settings.get("asr_init") or {}).get("weights_sha256")


def weights(folder, name="latest.pth"):
    return torch.load(folder / name, weights_only=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder for models that several tests start from."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def source(made, training_command, small_network, asr_exp):
    """A function that returns a speaker model of a task, trained once."""
    options = {
        "scratch": ([], small_network),
        "transfer": (["--asr", str(asr_exp)], []),
        "adaptor": (["--asr", str(asr_exp)], []),
        "distill": (["--asr", str(asr_exp)], small_network),
    }

    def train(task):
        folder = made / task
        if not folder.exists():
            more, network = options[task]
            command = training_command(folder, sv_task=task, **STILL)
            sv_train.main([*command, *more, *network])
        return folder

    return train


@pytest.fixture
def others(corpus, tmp_path):
    """The tables of a corpus with one speaker fewer."""
    folder = tmp_path / "others"
    folder.mkdir()
    for name in ("spk2utt", "utt2spk", "wav.scp"):
        lines = (corpus.root / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("spk03")]
        (folder / name).write_text("".join(kept))
    return {
        "spk2utt": folder / "spk2utt",
        "train_data_path_and_name_and_type": f"{folder}/wav.scp,speech,sound",
    }


@pytest.fixture
def tune(training_command, others, tmp_path):
    """A function that trains a model on, on other speakers, with learning rate 0.

    Neither task nor architecture are given, and no ASR model.
    """

    def run(source, *more, folder="tuned", **options):
        command = training_command(
            tmp_path / folder, init_sv=source, **STILL | others | options
        )
        at = command.index("--head_conf")
        sv_train.main([*command[:at], *command[at + 2 :], *more])
        return tmp_path / folder

    return run


@pytest.mark.parametrize(
    ("task", "form"),
    [
        ("scratch", "exp"),
        ("transfer", "zip"),
        ("distill", "zip"),
        ("adaptor", "exp"),
        ("adaptor", "zip"),
        ("adaptor", "unpacked"),
    ],
)
def test_any_model_is_trained_on_from_any_form_and_loads(
    source, tune, task, form, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    start = given = source(task)
    if form != "exp":
        given = tmp_path / "packed.zip"
        pack_model(start, given)
    if form == "unpacked":
        shutil.unpack_archive(given, tmp_path / "unpacked")
        given = tmp_path / "unpacked"
    tuned = tune(given, freeze_encoder_epochs=1, encoder_lr_factor=0.1)
    settings = config(tuned)
    assert (settings["sv_task"], settings["spk_num"]) == (task, 3)
    assert settings["init_sv"] is None and settings["init_sv_source"] == str(given)
    before, _ = load_speaker_model(start)
    after, _ = load_speaker_model(tuned)
    if task == "adaptor":
        names = [n for n, _ in before.head.named_parameters()]
    else:
        names = [n for n, _ in before.named_parameters() if not n.startswith("loss.")]
    for name in names:
        part = ("head." if task == "adaptor" else "") + name
        assert torch.equal(before.state_dict()[part], after.state_dict()[part]), name
    assert not any(name.startswith("branch.") for name in weights(tuned))
    pack_model(tuned, tmp_path / "again.zip")
    # its history goes with it, for the model card
    assert pretrained(settings) == pretrained(config(start))


@pytest.mark.parametrize("task", ["scratch", "adaptor"])
def test_a_run_is_resumed_without_its_source_but_not_from_another(
    source, tune, task, tmp_path
):
    moved = shutil.copytree(source(task), tmp_path / "moved")
    tune(moved)
    shutil.rmtree(moved)
    again = {"max_epoch": 2, "resume": "true", "sv_task": task}
    tuned = tune(moved, **again)
    assert (tuned / "2epoch.pth").exists()
    assert config(tuned)["head_conf"] == {"embed_dim": 8}
    load_speaker_model(tuned)
    with pytest.raises(SVError, match="was initialised from the speaker model"):
        tune(source(task), **again)


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        (
            "scratch",
            ["--encoder_conf", "num_blocks=4"],
            "encoder_conf num_blocks is 4 ",
        ),
        ("scratch", ["--encoder_conf", "zero_triu=true"], "zero_triu is True .* False"),
        ("scratch", ["--encoder", "ecapa_tdnn"], "encoder is ecapa_tdnn .* conformer"),
        ("scratch", ["--head", "pooled"], "head is pooled .* mfa in"),
        ("scratch", ["--sample_rate", "8000"], "sample_rate is 8000 .* 16000"),
        ("transfer", ["--frontend_conf", "n_mels=80"], "n_mels is 80 .* but 40 in"),
        ("transfer", ["--normalize", "utterance_mvn"], ""),  # the default
        ("distill", ["--head_conf", "embed_dim=9"], "embed_dim is 9 .* but 8 in"),
        ("adaptor", ["--head_conf", "adaptor_dim=5"], "adaptor_dim is 5 .* but 128 in"),
        ("scratch", ["--encoder_conf", "num_blocks=3"], ""),
        ("scratch", ["--encoder_conf", "dropout_rate=0.5"], ""),
    ],
)
def test_a_key_that_contradicts_the_model_is_refused(
    source, tune, task, given, message
):
    if message:
        with pytest.raises(SVError, match=f"{message}.*: leave .* out") as error:
            tune(source(task), *given)
        assert str(source(task)) in str(error.value)
        return
    tuned = tune(source(task), *given, dry_run="true")
    trained, found = config(source(task)), config(tuned)
    assert found["normalize"] == trained["normalize"]
    if "dropout_rate=0.5" in given:
        trained["encoder_conf"]["dropout_rate"] = 0.5
    assert found["encoder_conf"] == trained["encoder_conf"]


@pytest.mark.parametrize(
    ("task", "own", "message"),
    [
        ("scratch", "adaptor", "sv_train --sv_task adaptor trains this model on"),
        ("adaptor", "scratch", "sv_train --sv_task scratch trains this model on"),
    ],
)
def test_an_adaptor_is_no_other_model(source, tune, task, own, message):
    with pytest.raises(SVError, match=message):
        tune(source(own), sv_task=task)
