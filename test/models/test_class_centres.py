import logging

import pytest
import torch
import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.tasks.sv import SVTask

SPEEDS = ["--speed_perturb_factors", "0.9", "1.0", "1.1"]
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


def test_fine_tuning_at_the_same_speeds_keeps_all_centres(train, tune, tmp_path):
    trained = train(tmp_path / "exp", *SPEEDS)
    tuned = tune(tmp_path / "tuned", trained, *SPEEDS)
    assert torch.equal(centres(tuned), centres(trained, "valid.eer.best.pth"))


def test_fine_tuning_at_new_speeds_is_rejected_with_both_numbers(train, tune, tmp_path):
    trained = train(tmp_path / "exp")
    with pytest.raises(SVError, match="trained on 4 classes, this training has 12"):
        tune(tmp_path / "tuned", trained, *SPEEDS)


@pytest.mark.parametrize("speeds", [[], SPEEDS])
def test_fine_tuning_on_other_speakers_is_rejected(
    train, tune, corpus, tmp_path, speeds
):
    trained = train(tmp_path / "exp", *speeds)
    for name in ("spk2utt", "utt2spk"):
        text = (
            (corpus.root / name)
            .read_text()
            .replace("spk03", "zoe")
            .replace("zoe-", "spk03-")
        )
        (tmp_path / name).write_text(text)
    with pytest.raises(SVError, match=r"spk2utt: .*differ in 2 speakers, e\.g\. spk03"):
        tune(tmp_path / "tuned", trained, spk2utt=tmp_path / "spk2utt")
    for name in ("spk2utt", "utt2spk"):
        lines = (corpus.root / name).read_text().splitlines(keepends=True)
        (tmp_path / name).write_text(
            "".join(x for x in lines if "spk03" not in x.split()[0])
        )
    with pytest.raises(SVError, match="this training has 3"):
        tune(tmp_path / "tuned", trained, spk2utt=tmp_path / "spk2utt")


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
