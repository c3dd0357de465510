import logging

import pytest
import torch
import yaml

from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.tasks.sv import SVTask

SPEEDS = ["--speed_perturb_factors", "0.9", "1.0", "1.1"]
SUBCENTRES = ["--loss", "aamsoftmax_sc_topk", "--loss_conf", "k_top=2"]
STILL = {"optim_conf": "lr=0.0", "num_iters_per_epoch": 1, "max_epoch": 1}


def centres(folder, name="latest.pth"):
    return torch.load(folder / name, weights_only=True)["loss.weight"]


@pytest.fixture
def train(training_command, small_network):
    """A function that trains a small speaker model."""

    def run(folder, *more, **options):
        SVTask.main(cmd=[*training_command(folder, **options), *small_network, *more])
        return folder

    return run


@pytest.fixture(scope="module")
def trained_before(tmp_path_factory):
    """Folders of models that several tests start from, by their speeds."""
    return tmp_path_factory.mktemp("trained"), {}


@pytest.fixture
def trained(train, trained_before):
    """A function that returns a model trained at some speeds, once for all tests."""
    root, made = trained_before

    def run(speeds):
        key = len(speeds)
        if key not in made:
            made[key] = train(root / f"exp{key}", *speeds)
        return made[key]

    return run


@pytest.fixture
def tune(training_command):
    """A function that fine-tunes with learning rate 0, to see the initial weights."""

    def run(folder, source, *more, **options):
        command = training_command(folder, init_sv=source, **STILL | options)
        SVTask.main(cmd=[*command, *more])
        return folder

    return run


@pytest.mark.parametrize(
    ("loss", "rows_per_class"), [("aamsoftmax", 1), ("aamsoftmax_sc_topk", 3)]
)
def test_fine_tuning_without_speeds_keeps_the_centres_of_the_original_speed(
    train, tune, tmp_path, loss, rows_per_class, caplog
):
    conf = ["--loss_conf", "k_top=2"] if rows_per_class > 1 else []
    trained = train(tmp_path / "exp", *SPEEDS, *conf, loss=loss)
    with caplog.at_level(logging.INFO):
        tuned = tune(tmp_path / "lmft", trained, *conf, loss=loss, log_level="INFO")
    before = centres(trained, "valid.eer.best.pth")
    assert len(before) == 12 * rows_per_class
    assert torch.equal(centres(tuned), before[: 4 * rows_per_class])
    names = [line.split()[0] for line in (trained / "spk2id").read_text().splitlines()]
    assert (tuned / "spk2id").read_text() == "".join(
        f"{s} {i}\n" for i, s in enumerate(names[:4])
    )
    assert yaml.safe_load((tuned / "config.yaml").read_text())["spk_num"] == 4
    assert "Kept the 4 class centres of the original speed, dropped 8" in caplog.text


def test_fine_tuning_at_the_same_speeds_keeps_all_centres(trained, tune, tmp_path):
    source = trained(SPEEDS)
    tuned = tune(tmp_path / "tuned", source, *SPEEDS)
    assert torch.equal(centres(tuned), centres(source, "valid.eer.best.pth"))


@pytest.fixture
def new_speakers(corpus, tmp_path):
    """A function that returns tables with a speaker renamed, or with one fewer."""

    def make(change):
        folder = tmp_path / change
        folder.mkdir()
        for name in ("spk2utt", "utt2spk", "wav.scp"):
            lines = (corpus.root / name).read_text().splitlines(keepends=True)
            if change == "fewer":
                lines = [line for line in lines if not line.startswith("spk03")]
            elif name == "spk2utt":
                lines = [line.replace("spk03 ", "zoe ", 1) for line in lines]
            elif name == "utt2spk":
                lines = [line.replace(" spk03", " zoe") for line in lines]
            (folder / name).write_text("".join(lines))
        data = "train_data_path_and_name_and_type"
        return {
            "spk2utt": folder / "spk2utt",
            data: f"{folder}/wav.scp,speech,sound",
        }

    return make


@pytest.mark.parametrize(
    ("speeds", "change", "more", "reason", "classes"),
    [
        ([], "renamed", [], "differ in 2 speakers, e.g. spk03", 4),
        (SPEEDS, "renamed", [], "differ in 2 speakers, e.g. spk03", 4),
        ([], "fewer", [], "it has 4, this training 3", 3),
        ([], "fewer", SPEEDS, "it has 4, this training 9", 9),
        ([], "", SPEEDS, "it has 4, this training 12", 12),
        ([], "", SUBCENTRES, "its loss is another one", 4),
    ],
)
def test_other_classes_start_anew_and_the_network_is_kept(
    trained, tune, new_speakers, tmp_path, caplog, speeds, change, more, reason, classes
):
    source = trained(speeds)
    data = new_speakers(change) if change else {}
    with caplog.at_level(logging.INFO):
        tuned = tune(tmp_path / "tuned", source, *more, log_level="INFO", **data)
    lines = [line for line in caplog.messages if "class layer starts anew" in line]
    assert len(lines) == 1 and reason in lines[0], caplog.text
    assert f"with {classes} classes" in lines[0]
    before, after = (
        torch.load(folder / name, weights_only=True)
        for folder, name in ((source, "valid.eer.best.pth"), (tuned, "latest.pth"))
    )
    same = {
        name
        for name in after
        if name in before and torch.equal(before[name], after[name])
    }
    # BatchNorm has seen new batches
    moved = {n for n in after if n.endswith(("_mean", "_var", "num_batches_tracked"))}
    assert same - moved == {n for n in after if not n.startswith("loss.")} - moved
    config = yaml.safe_load((tuned / "config.yaml").read_text())
    assert config["spk_num"] == classes and config["init_sv_source"] == str(source)
    load_speaker_model(tuned)


def test_without_spk2id_only_the_number_of_classes_is_checked(train, tune, tmp_path):
    trained = train(tmp_path / "exp", *SPEEDS)
    (trained / "spk2id").unlink()
    tuned = tune(tmp_path / "tuned", trained)
    assert torch.equal(centres(tuned), centres(trained, "valid.eer.best.pth")[:4])


def test_an_adaptor_keeps_the_centres_of_the_original_speed(
    training_command, asr_exp, tmp_path
):
    options = {"asr": asr_exp, "head_conf": "embed_dim=8"}
    SVAdaptorTask.main(cmd=[*training_command(tmp_path / "exp", **options), *SPEEDS])
    SVAdaptorTask.main(
        cmd=training_command(
            tmp_path / "lmft", init_sv=tmp_path / "exp", asr=asr_exp, **STILL
        )
    )
    before = centres(tmp_path / "exp", "valid.eer.best.pth")
    assert torch.equal(centres(tmp_path / "lmft"), before[:4])
    assert len(before) == 12
