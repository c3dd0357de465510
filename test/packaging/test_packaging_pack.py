import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from espnet2.main_funcs.pack_funcs import unpack as espnet_unpack
from espnet2_sv.errors import SVError
from espnet2_sv.inference.speech2embedding import Speech2Embedding
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.scoring.calibration import Calibration


@pytest.fixture
def exp(speaker_exp, tmp_path):
    """A training run with everything that goes along, and with what must not."""
    exp = shutil.copytree(speaker_exp, tmp_path / "recipe" / "exp" / "sv_mini")
    weights = exp / "valid.eer.best.pth"
    weights.rename(exp / "7epoch.pth")
    weights.symlink_to("7epoch.pth")  # as ESPnet leaves it
    (exp / "RESULTS.md").write_text("# RESULTS\n\n| EER | 1.23 |\n")
    (exp / "threshold.json").write_text('{"cosine": 0.25}')
    (exp / "images").mkdir()
    (exp / "images" / "eer.png").write_bytes(b"png")
    (exp / "checkpoint.pth").write_bytes(bytes(1000))
    (exp / "train.log").write_text("ann@host")
    return exp


def names(archive) -> list[str]:
    with zipfile.ZipFile(archive) as z:
        assert z.testzip() is None
        return z.namelist()


def test_a_packed_model_gives_the_same_embedding_elsewhere(exp, tmp_path, home, an4):
    audio, _ = soundfile.read(an4["an251-fash-b"])
    expected = Speech2Embedding.from_pretrained(exp)(audio)
    pack_model(exp, tmp_path / "model.zip")
    shutil.rmtree(tmp_path / "recipe")
    moved = shutil.move(tmp_path / "model.zip", Path.cwd() / "moved.zip")
    found = Speech2Embedding.from_pretrained(str(moved))(audio)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert any(home.iterdir())  # unpacked in this home


@pytest.mark.parametrize("where", ["recipe", "recipe/exp/sv_mini", "."])
def test_the_archive_is_the_same_from_any_folder(exp, tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path / where)
    relative = os.path.relpath(exp)
    packed = pack_model(relative, "out/model.zip")
    assert packed == names("out/model.zip")
    assert sorted(packed) == [
        "README.md",
        "exp/sv_mini/RESULTS.md",
        "exp/sv_mini/config.yaml",
        "exp/sv_mini/images/eer.png",
        "exp/sv_mini/spk2id",
        "exp/sv_mini/threshold.json",
        "exp/sv_mini/valid.eer.best.pth",
        "meta.yaml",
    ]


def test_espnet_unpacks_it(exp, tmp_path):
    pack_model(exp, tmp_path / "model.zip")
    files = espnet_unpack(tmp_path / "model.zip", tmp_path / "unpacked")
    assert files == {
        "train_config": str(tmp_path / "unpacked/exp/sv_mini/config.yaml"),
        "model_file": str(tmp_path / "unpacked/exp/sv_mini/valid.eer.best.pth"),
        "espnet2_sv": str(tmp_path / "unpacked/README.md"),
    }
    weights = Path(files["model_file"])
    assert not weights.is_symlink()
    assert weights.read_bytes() == (exp / "7epoch.pth").read_bytes()
    assert Speech2Embedding(**files)(np.ones(16000)).shape == (1, 8)


def test_nothing_tells_of_the_training_machine(exp, tmp_path):
    config = exp / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["asr_init"] = {
        "source": "/home/ann/asr/model.zip",
        "weights_sha256": "ab12",
    }
    settings["train_data_path_and_name_and_type"] = [
        ["/home/ann/wav.scp", "speech", "sound"]
    ]
    settings["noise_scp"] = "../../ann/noise.scp"
    settings["dist_init_method"] = "file:///home/ann/.dist_init"
    settings["dist_master_addr"] = "host7.ann.example"
    settings["wandb_entity"] = "ann"
    config.write_text(yaml.safe_dump(settings))
    pack_model(exp, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        for name in archive.namelist():
            if name.endswith((".yaml", ".md")):
                text = archive.read(name).decode()
                assert "ann" not in text.replace("channel", ""), name
                assert str(tmp_path) not in text, name
        packed = yaml.safe_load(archive.read("exp/sv_mini/config.yaml"))
    assert packed["asr_init"] == {"source": "model.zip", "weights_sha256": "ab12"}
    assert packed["encoder_conf"] == settings["encoder_conf"]


def test_calibration_and_options_are_packed(exp, tmp_path):
    Calibration(1.0, 0.0, {}, {}).save(tmp_path / "cal.json")
    (tmp_path / "extra" / "deep").mkdir(parents=True)
    (tmp_path / "extra" / "deep" / "file").write_text("x")
    (tmp_path / "RESULTS.md").write_text("| Vox1-O | 0.74 |")
    packed = pack_model(
        exp,
        tmp_path / "model.zip",
        calibration=tmp_path / "cal.json",
        options=[tmp_path / "RESULTS.md", tmp_path / "extra"],
    )
    assert {"exp/sv_mini/calibration.json", "RESULTS.md", "extra/deep/file"} <= set(
        packed
    )


def test_a_threshold_that_cannot_be_used_is_not_packed(exp, tmp_path):
    (exp / "threshold.json").write_text('{"eer": 1}')
    with pytest.raises(SVError, match=r"threshold\.json"):
        pack_model(exp, tmp_path / "model.zip")


def test_a_calibration_that_cannot_be_used_is_not_packed(exp, tmp_path):
    Calibration(1.0, 0.0, {"cohort_mean": (1.0, 0.0)}, {}).save(
        exp / "calibration.json"
    )
    with pytest.raises(SVError, match="cohort_mean"):
        pack_model(exp, tmp_path / "model.zip")
    (exp / "calibration.json").write_text("{}")
    with pytest.raises(SVError, match=r"calibration\.json"):
        pack_model(exp, tmp_path / "model.zip")


def test_the_model_card_says_how_to_use_it(exp, tmp_path):
    pack_model(exp, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        card = archive.read("README.md").decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "espnet"
    assert "from_pretrained" in card and "espnet2-sv verify" in card
    assert "1.23" in card  # its results
    assert "16000 Hz" in card and "2 blocks of 16" in card


def test_other_weights_can_be_chosen(exp, new_exp, tmp_path):
    other = new_exp() / "valid.eer.best.pth"
    pack_model(exp, tmp_path / "model.zip", model_file=other)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.read("exp/sv_mini/valid.eer.best.pth") == other.read_bytes()


def test_a_failed_packing_leaves_the_old_archive(exp, tmp_path):
    pack_model(exp, tmp_path / "model.zip")
    before = (tmp_path / "model.zip").read_bytes()
    with pytest.raises(SVError, match=r"nowhere\.md"):
        pack_model(exp, tmp_path / "model.zip", options=["nowhere.md"])
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []


def test_what_would_not_load_is_not_packed(exp, tmp_path):
    settings = yaml.safe_load((exp / "config.yaml").read_text())
    settings["head_conf"] = {"embed_dim": 9}
    (exp / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SVError, match="do not fit"):
        pack_model(exp, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_bad_arguments_are_refused(exp, tmp_path):
    with pytest.raises(SVError, match="nowhere"):
        pack_model(tmp_path / "nowhere", tmp_path / "model.zip")
    with pytest.raises(SVError, match=r"\.zip"):
        pack_model(exp, tmp_path / "model.tar")
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(SVError, match=r"README\.md"):
        pack_model(exp, tmp_path / "model.zip", options=[tmp_path / "README.md"] * 2)
    (exp / "7epoch.pth").unlink()
    with pytest.raises(SVError, match="weights"):
        pack_model(exp, tmp_path / "model.zip")
