"""The pieces of the recipe fotaq: its controls, comparisons and pictures."""

import contextlib
import importlib.util
from pathlib import Path

import pytest
import torch
from espnet2.bin.pack import main as espnet_pack

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.errors import SVError

LOCAL = Path(__file__).resolve().parents[2] / "egs2/fotaq/sv1/local"


def local(name: str):
    """Import a script of the recipe."""
    spec = importlib.util.spec_from_file_location(name, LOCAL / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packed_asr(zoo) -> Path:
    """A packed ASR model with a decoder."""
    exp, archive = zoo.asr("attention"), zoo.root / "attention" / "asr.zip"
    files = ("--asr_train_config", exp / "config.yaml")
    files += ("--asr_model_file", exp / "valid.acc.ave.pth", "--outpath", archive)
    with contextlib.chdir(zoo.root / "attention"):
        espnet_pack(["asr", *map(str, files)])
    return archive


def test_an_untrained_twin_differs_in_all_weights_and_in_nothing_else(
    packed_asr, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archives = [tmp_path / name for name in ("0.zip", "0_again.zip", "1.zip")]
    for archive, seed in zip(archives, "001", strict=True):
        local("random_asr").main(
            ["--asr", str(packed_asr), "--output", str(archive), "--seed", seed]
        )
    assert archives[0].read_bytes() == archives[1].read_bytes()
    trained, first, _, second = map(load_asr_bundle, (packed_asr, *archives))
    assert first.summary() == trained.summary()
    assert first.args == trained.args
    states = [bundle.model.state_dict() for bundle in (trained, first, second)]
    assert states[0].keys() == states[1].keys()
    drawn = {key for key, value in first.model.named_parameters() if value.ndim > 1}
    assert len(drawn) > 30
    for key, *values in ((key, *(s[key] for s in states)) for key in states[0]):
        if key.startswith("normalize."):
            assert torch.equal(values[0], values[1])
        elif key in drawn:
            assert len({tuple(v.flatten().tolist()) for v in values}) == 3, key


def test_only_a_packed_model_has_a_twin(zoo, tmp_path):
    with pytest.raises(SVError, match="is not a packed model; pack it with"):
        local("random_asr").main(["--asr", str(zoo.asr()), "--output", str(tmp_path / "x.zip")])
