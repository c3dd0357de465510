import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.tasks.sv import SVTask, augmentation

pytestmark = pytest.mark.execution_timeout(200)


def weights(folder, name="latest.pth"):
    return torch.load(folder / name, weights_only=True)


@pytest.fixture
def train(training_command, small_network):
    def run(folder, **options):
        SVTask.main(cmd=training_command(folder, **options) + small_network)
        return folder

    return run


def test_resuming_equals_uninterrupted_training(train, tmp_path):
    straight = train(tmp_path / "straight", max_epoch=3)
    broken = train(tmp_path / "broken", max_epoch=1)
    train(broken, max_epoch=3, resume="true")
    for name, tensor in weights(straight).items():
        assert torch.equal(tensor, weights(broken)[name]), name
    # what is shown of both: the resumed one begins with what it takes over
    once, again = (
        [line.split(", ") for line in (folder / "progress.txt").read_text().split("\n")]
        for folder in (straight, broken)
    )
    assert again[0][0].startswith("resumed after epoch 1/3: best validation EER ")
    for first, second in zip(once[1:], again[1:], strict=True):
        assert first[:2] == second[:2]  # loss and EER


def test_a_model_is_rebuilt_from_its_config_and_weights(train, tmp_path):
    folder = train(tmp_path / "exp")
    shutil.move(folder, tmp_path / "moved")
    model, args = SVTask.build_model_from_file(
        tmp_path / "moved" / "config.yaml", tmp_path / "moved" / "latest.pth"
    )
    assert args.sv_task == "scratch"
    speech = torch.randn(1, 16000)
    model.eval()
    assert model.embed(speech, torch.tensor([16000])).shape == (1, 8)


def test_a_missing_tensor_is_named(train, tmp_path):
    folder = train(tmp_path / "exp")
    state = weights(folder)
    del state["head.projection.linear.bias"]
    torch.save(state, folder / "damaged.pth")
    with pytest.raises(
        SVError, match=r"damaged\.pth.*missing head\.projection\.linear\.bias"
    ):
        SVTask.build_model_from_file(folder / "config.yaml", folder / "damaged.pth")


def test_fine_tuning_starts_from_the_trained_model(train, training_command, tmp_path):
    folder = train(tmp_path / "exp")
    tuned = tmp_path / "lmft"
    command = training_command(
        tuned, init_sv=folder, loss_conf="margin=0.5", optim_conf="lr=0.0", max_epoch=1
    )
    SVTask.main(cmd=command)
    before, after = weights(folder, "valid.eer.best.pth"), weights(tuned)
    assert torch.equal(
        before["head.projection.linear.weight"], after["head.projection.linear.weight"]
    )
    config = yaml.safe_load((tuned / "config.yaml").read_text())
    assert config["loss_conf"]["margin"] == 0.5
    assert config["encoder_conf"]["num_blocks"] == 3


SPEEDS = ["--speed_perturb_factors", "0.9", "1.0", "1.1"]


@pytest.fixture
def train_at_speeds(training_command, small_network):
    def run(folder, *more, **options):
        SVTask.main(
            cmd=[*training_command(folder, **options), *small_network, *SPEEDS, *more]
        )
        return folder

    return run


def test_each_speed_of_a_speaker_is_a_class(train_at_speeds, tmp_path):
    folder = train_at_speeds(tmp_path / "exp")
    assert weights(folder)["loss.weight"].shape == (12, 8)
    names = [line.split()[0] for line in (folder / "spk2id").read_text().splitlines()]
    originals = [f"spk{s:02d}" for s in range(4)]
    assert names == [p + s for p in ("", "sp0.9-", "sp1.1-") for s in originals]


def test_speeds_can_be_given_in_a_yaml(training_command, small_network, tmp_path):
    conf = tmp_path / "train.yaml"
    conf.write_text("speed_perturb_factors: [0.9, 1, 1.1]\n")
    command = [*training_command(tmp_path / "exp", config=conf), *small_network]
    SVTask.main(cmd=command)
    assert weights(tmp_path / "exp")["loss.weight"].shape == (12, 8)


def test_resuming_with_speeds_equals_uninterrupted_training(train_at_speeds, tmp_path):
    straight = train_at_speeds(tmp_path / "straight", max_epoch=2)
    broken = train_at_speeds(tmp_path / "broken", max_epoch=1)
    train_at_speeds(broken, max_epoch=2, resume="true")
    for name, tensor in weights(straight).items():
        assert torch.equal(tensor, weights(broken)[name]), name


def test_resuming_with_other_speeds_is_rejected(train, train_at_speeds, tmp_path):
    folder = train_at_speeds(tmp_path / "exp")
    with pytest.raises(SVError, match=r"4 speakers instead of 12.*sp0\.9-spk00"):
        train(folder, max_epoch=2, resume="true")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size 1 .*at least 2"),
        ({"ngpu": 1}, "no usable GPU"),
        ({"spk2utt": "nowhere/spk2utt"}, "nowhere/spk2utt"),
        ({"sample_rate": 8000}, "sample_rate 8000.*expects 16000"),
        ({"spk2utt": ""}, "spk2utt is required"),
    ],
)
def test_invalid_options_are_rejected_before_training(
    train, tmp_path, options, message
):
    if "ngpu" in options and torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(SVError, match=message):
        train(tmp_path / "exp", **options)
    assert not (tmp_path / "exp" / "checkpoint.pth").exists()


def test_an_unwritable_directory_is_named(train, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SVError, match="file/exp: cannot be written to"):
        train(tmp_path / "file" / "exp")


def test_resuming_with_other_speakers_is_rejected(train, corpus, tmp_path):
    folder = train(tmp_path / "exp")
    lines = (corpus.root / "spk2utt").read_text().splitlines()
    (tmp_path / "spk2utt").write_text("".join(f"{line}\n" for line in lines[:3]))
    with pytest.raises(SVError, match="3 speakers instead of 4"):
        train(folder, spk2utt=tmp_path / "spk2utt", resume="true")


def test_resuming_with_another_model_is_rejected_and_the_config_is_kept(
    train, tmp_path
):
    folder = train(tmp_path / "exp")
    config = (folder / "config.yaml").read_text()
    with pytest.raises(SVError, match="head_conf"):
        train(folder, head_conf="embed_dim=9", resume="true", max_epoch=2)
    assert (folder / "config.yaml").read_text() == config


def test_each_noise_entry_may_have_its_own_wav_scp():
    cmd = ["--output_dir", "x", "--noise_scp", "musan.scp", "--rir_scp", "rirs.scp"]
    args = SVTask.get_parser().parse_args(cmd)
    args.augment_conf = {
        "noise": [
            {"snr": [0, 15]},
            {"scp": "music.scp"},
            {"scp": "speech.scp", "num": [3, 8]},
        ],
        "rir": {"weight": 2},
    }
    assert augmentation(args) == {
        "noise": [
            {"scp": "musan.scp", "snr": [0, 15]},
            {"scp": "music.scp"},
            {"scp": "speech.scp", "num": [3, 8]},
        ],
        "rir": {"scp": "rirs.scp", "weight": 2},
    }
    assert "scp" not in args.augment_conf["noise"][0]
    args.rir_scp, args.augment_conf = None, {"rir": {"scp": "own.scp"}}
    assert augmentation(args) == {
        "noise": [{"scp": "musan.scp"}],
        "rir": {"scp": "own.scp"},
    }


def test_babble_of_the_training_set_replaces_noises_without_a_list(
    train, corpus, tmp_path, caplog
):
    config = tmp_path / "train.yaml"
    noises = "[{snr: [0, 15], weight: 2}, {scp: wav.scp}, {snr: 3}]"
    config.write_text(f"augment_conf: {{apply_prob: 1.0, noise: {noises}}}\n")
    wavs = f"{corpus.root}/wav.scp,speech,sound"
    option = "--train_data_path_and_name_and_type"
    cmd = ["--output_dir", "x", "--config", str(config), option, wavs]
    args = SVTask.get_parser().parse_args(cmd)
    babble = {"scp": f"{corpus.root}/wav.scp", "snr": [13, 20], "num": [3, 8]}
    expected = [{"scp": "wav.scp"}, babble | {"weight": 3.0}]
    assert augmentation(args)["noise"] == expected
    assert "--noise_scp" in caplog.text and "sv_prep_noises" in caplog.text
    noises = "[{snr: [0, 15]}]"  # as in the recipes' configurations
    config.write_text(f"augment_conf: {{apply_prob: 1.0, noise: {noises}}}\n")
    train(tmp_path / "exp", config=config)


def test_a_batch_larger_than_the_training_set_is_refused(train, corpus, tmp_path):
    examples = len((corpus.root / "wav.scp").read_text().splitlines())
    with pytest.raises(SVError, match=f"only {examples} training utterances"):
        train(tmp_path / "exp", batch_size=examples + 2, num_iters_per_epoch="none")
    big = {"batch_size": examples + 2, "num_iters_per_epoch": 1}
    train(tmp_path / "exp", dry_run="true", **big)


def test_unknown_trial_utterance_is_named(train, tmp_path):
    trials = tmp_path / "trials"
    trials.write_text("spk00-utt00 spk00-utt01 target\nspk00-utt00 ghost nontarget\n")
    with pytest.raises(SVError, match="utterance ghost"):
        train(tmp_path / "exp", valid_trials=trials)


def test_default_config_and_dry_run(train, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["sv_train"])
    assert SVTask.get_default_config()["loss_conf"]["scale"] == 32
    folder = train(tmp_path / "exp", dry_run="true")
    assert (folder / "config.yaml").exists()
    assert not (folder / "checkpoint.pth").exists()


@pytest.mark.parametrize("content", [b"", b"half", bytes(2000), "cut"])
def test_a_damaged_checkpoint_is_named_and_kept(content, train, tmp_path):
    folder = train(tmp_path / "exp")
    checkpoint = folder / "checkpoint.pth"
    if content == "cut":
        content = checkpoint.read_bytes()[:1000]
    checkpoint.write_bytes(content)
    with pytest.raises(SVError, match=r"checkpoint\.pth: is cut off or damaged") as e:
        train(folder, max_epoch=2, resume="true")
    assert "\n" not in str(e.value)
    assert checkpoint.read_bytes() == content


def test_a_validation_utterance_that_is_too_short_is_named_before_training(
    train, corpus, tmp_path
):
    data = shutil.copytree(corpus.root, tmp_path / "data")
    lines = (data / "wav.scp").read_text().splitlines()
    name = lines[3].split()[0]
    soundfile.write(data / "short.wav", np.full(100, 0.1), 16000)
    lines[3] = f"{name} {data}/short.wav"
    (data / "wav.scp").write_text("".join(f"{line}\n" for line in lines))
    valid = f"{data}/wav.scp,speech,sound"
    with pytest.raises(SVError, match=f"validation utterance {name} has 0.006 s"):
        train(tmp_path / "exp", valid_data_path_and_name_and_type=valid)
    assert not list((tmp_path / "exp").glob("*.pth"))


def test_adapters_are_refused_before_training(train, tmp_path):
    with pytest.raises(SVError, match="use_adapter"):
        train(tmp_path / "exp", use_adapter="true", adapter="lora")
