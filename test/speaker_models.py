"""Tiny speaker models on disk, and real speech from AN4."""

import importlib.util
import itertools
import tarfile
from pathlib import Path

import pytest
import torch
import yaml

from espnet2_sv.tasks.sv import SVTask

CONFORMER = {
    "output_size": 16,
    "attention_heads": 2,
    "linear_units": 32,
    "num_blocks": 2,
    "pos_enc_layer_type": "rel_pos",
    "selfattention_layer_type": "rel_selfattn",
    "macaron_style": True,
    "cnn_module_kernel": 7,
}


FRAME_ENCODERS = {
    "ecapa_tdnn": {"ndim": 16, "output_size": 24},
    "resnet": {"m_channels": 2},
    "ska_tdnn": {"ndim": 16, "model_scale": 4},
}


def make_exp(
    folder: Path,
    positions: str = "latest",
    seed: int = 0,
    encoder: str = "conformer",
    head_conf: dict | None = None,
) -> Path:
    """Write the output of a training run: config.yaml, weights and spk2id."""
    folder.mkdir(parents=True)
    args = SVTask.get_parser().parse_args(
        ["--output_dir", str(folder), "--spk2utt", "/home/ann/data/spk2utt"]
    )
    args.spk_num = 4
    args.frontend_conf = {"fs": "16k", "n_fft": 512, "hop_length": 160}
    args.encoder_conf = {**CONFORMER, "rel_pos_type": positions}
    if encoder in FRAME_ENCODERS:
        args.encoder, args.head = encoder, "pooled"
        args.encoder_conf = dict(FRAME_ENCODERS[encoder])
    args.head_conf = head_conf or {"embed_dim": 8}
    torch.manual_seed(seed)
    model = SVTask.build_model(args)
    # BatchNorm statistics differ from their initial values, as after training
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand_like(buffer))
    torch.save(model.state_dict(), folder / "valid.eer.best.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(vars(args)))
    (folder / "spk2id").write_text("a 0\nb 1\nc 2\nd 3\n")
    return folder


@pytest.fixture(scope="session")
def speaker_exp(tmp_path_factory) -> Path:
    """A speaker model that is not sensitive to padding."""
    return make_exp(tmp_path_factory.mktemp("model") / "exp" / "sv_tiny")


@pytest.fixture(scope="session")
def legacy_exp(tmp_path_factory) -> Path:
    """A speaker model with ESPnet's legacy relative positions."""
    return make_exp(tmp_path_factory.mktemp("model") / "exp" / "sv_legacy", "legacy")


@pytest.fixture
def new_exp(tmp_path):
    """A function that builds further speaker models with other random weights."""
    seeds = itertools.count(1)
    return lambda: make_exp(tmp_path / f"new{(seed := next(seeds))}" / "exp", seed=seed)


@pytest.fixture(scope="session")
def an4(tmp_path_factory) -> dict[str, Path]:
    """NIST SPHERE files of eight recordings of five speakers, by utterance ID."""
    package = importlib.util.find_spec("egs3.mini_an4").submodule_search_locations[0]
    folder = tmp_path_factory.mktemp("an4")
    with tarfile.open(Path(package) / "esp2_asr" / "downloads.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return {path.stem: path for path in sorted(folder.rglob("*.sph"))}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home directory without caches, and another working directory."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(elsewhere)
    return home
