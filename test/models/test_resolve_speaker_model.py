"""A downloaded model becomes an exp directory that is evaluated and packed like one."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from stock_speakers import make_stock_exp

from espnet2_sv import Speech2Embedding, Speech2TextEmbedding
from espnet2_sv.errors import SVError
from espnet2_sv.models.resolve import resolve_speaker_model
from espnet2_sv.packaging.pack import pack_model

SPEECH = 0.1 * np.random.default_rng(0).standard_normal(16000)


@pytest.fixture(autouse=True)
def recipe(tmp_path, monkeypatch):
    """Work in a recipe's folder with a cache of its own."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def embed(source) -> torch.Tensor:
    return Speech2Embedding.from_pretrained(source)(SPEECH)


def contents(folder) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("kind", ["zip", "exp", "unpacked"])
def test_any_source_gives_the_same_folder(kind, speaker_exp, tmp_path):
    source = speaker_exp
    if kind != "exp":
        source = tmp_path / "model.zip"
        pack_model(speaker_exp, source)
    if kind == "unpacked":
        shutil.unpack_archive(source, tmp_path / "unpacked")
        source = tmp_path / "unpacked"
    summary = resolve_speaker_model(source, "exp/sv_x")
    assert summary == {"task": "scratch", "embedding": 8, "sample_rate": 16000}
    files = ["config.yaml", "model.pth", "source.json", "spk2id"]
    assert contents("exp/sv_x") == files
    assert contents("exp") == ["sv_x"]
    assert torch.equal(embed("exp/sv_x"), embed(speaker_exp))
    again = pack_model("exp/sv_x", "again.zip")
    assert "exp/sv_x/model.pth" in again
    assert torch.equal(embed("again.zip"), embed(speaker_exp))


def test_nothing_is_done_twice_and_another_model_replaces_it(speaker_exp, new_exp):
    source = shutil.copytree(speaker_exp, "source")
    resolve_speaker_model(source, "exp/sv_x")
    before = os.stat("exp/sv_x/model.pth")
    results = Path("exp/sv_x/RESULTS.md")
    results.write_text("table")
    resolve_speaker_model(source, "exp/sv_x")
    assert os.stat("exp/sv_x/model.pth") == before and results.exists()
    other = new_exp()
    shutil.copy(other / "valid.eer.best.pth", source)
    resolve_speaker_model(source, "exp/sv_x")
    assert torch.equal(embed("exp/sv_x"), embed(other))
    assert not results.exists()


@pytest.mark.parametrize("packed", [False, True])
def test_an_adaptor_comes_with_its_asr_model(packed, zoo, tmp_path):
    source = zoo.adaptor()
    expected = embed(source)
    text, _ = Speech2TextEmbedding.from_pretrained(source)(SPEECH)
    if packed:
        pack_model(source, tmp_path / "adaptor.zip")
        source = tmp_path / "adaptor.zip"
    summary = resolve_speaker_model(source, "exp/sv_adaptor")
    assert summary["task"] == "adaptor"
    assert "meta.yaml" in contents("exp/sv_adaptor/asr")
    assert torch.equal(embed("exp/sv_adaptor"), expected)
    found, _ = Speech2TextEmbedding.from_pretrained("exp/sv_adaptor")(SPEECH)
    assert found == text
    pack_model("exp/sv_adaptor", "again.zip")
    assert torch.equal(embed("again.zip"), expected)


def test_a_model_of_espnet_s_speaker_task(tmp_path):
    source = make_stock_exp(tmp_path / "exp", "mean_of_normalised")
    expected = embed(source)
    (source / "feats_stats.npz").unlink()
    summary = resolve_speaker_model(source, "exp/sv_stock")
    assert summary == {"task": "spk", "embedding": 24, "sample_rate": 16000}
    assert torch.equal(embed("exp/sv_stock"), expected)


def test_other_folders_are_left_alone(speaker_exp, new_exp):
    trained = new_exp()
    before = contents(trained)
    with pytest.raises(SVError, match="holds something else"):
        resolve_speaker_model(speaker_exp, trained)
    assert contents(trained) == before


def test_a_model_that_does_not_load_leaves_nothing(speaker_exp):
    source = shutil.copytree(speaker_exp, "source")
    Path("source/valid.eer.best.pth").write_bytes(b"damaged")
    with pytest.raises(SVError, match=r"valid\.eer\.best\.pth"):
        resolve_speaker_model(source, "exp/sv_x")
    assert contents("exp") == []
