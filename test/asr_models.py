"""Small ASR models with the configs of published ones and random weights."""

import argparse
import contextlib
import copy
import dataclasses
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet2.bin.pack import main as espnet_pack
from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel
from espnet2_sv.asr.task import ASR, S2T_CTC, task_of

TOKENS = ["<blank>", "<unk>", *"abcdefghi", "<sos/eos>"]
# OWSM's symbols, with two of its 1,501 times
SYMBOLS = ["<na>", "<nospeech>", "<eng>", "<deu>", "<asr>", "<st_deu>"]
SYMBOLS += ["<notimestamps>", "<0.00>", "<30.00>", "<sos>", "<eos>", "<sop>"]
# What an OWSM-CTC encoder reads by default
PROMPT = ("<nolang>", "<asr>")
PUBLISHED = Path(__file__).parent / "asr" / "published"
ENCODER_SIZE = {
    "output_size": 16,
    "linear_units": 24,
    "cgmlp_linear_units": 32,
    "num_blocks": 3,
}
DECODER_SIZE = {"linear_units": 24, "num_blocks": 1, "hidden_size": 8}
PROMPT_ENCODER_SIZE = {
    "output_size": 12,
    "attention_heads": 2,
    "linear_units": 24,
    "num_blocks": 1,
}
INTERMEDIATE_LAYERS = [1, 2]


def published(name: str) -> dict:
    """Config of a published model, reduced in size."""
    conf = yaml.safe_load((PUBLISHED / f"{name}.yaml").read_text())
    for part, size in (("encoder_conf", ENCODER_SIZE), ("decoder_conf", DECODER_SIZE)):
        settings = conf.setdefault(part, {})
        settings.update({key: size[key] for key in size if key in settings})
    for part in ("encoder_conf", "decoder_conf"):
        if ENCODER_SIZE["output_size"] % conf[part].get("attention_heads", 1):
            conf[part]["attention_heads"] = 4
    encoder_conf = conf["encoder_conf"]
    if encoder_conf.get("interctc_layer_idx"):
        encoder_conf["interctc_layer_idx"] = INTERMEDIATE_LAYERS
    if "use_cross_attention" in encoder_conf:
        blocks = encoder_conf["num_blocks"]
        encoder_conf["use_cross_attention"] = encoder_conf["use_cross_attention"][
            :blocks
        ]
    if task_of(conf) is S2T_CTC:
        del conf["decoder_conf"]
        conf["promptencoder_conf"].update(PROMPT_ENCODER_SIZE)
    return conf


@torch.no_grad()
def encode(
    model: torch.nn.Module,
    speech: torch.Tensor,
    lengths: torch.Tensor,
    prompt: tuple[str, str] = PROMPT,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of ESPnet's encoder, with the frames of the prompt's prefix if any."""
    options = {}
    if isinstance(model, ESPnetS2TCTCModel):
        ids = [model.token_list.index(symbol) for symbol in prompt]
        prefix = torch.tensor([ids] * len(speech))
        previous = torch.full((len(speech), 1), model.na)
        options = {"prefix": prefix, "text_prev": previous}
        for name, tensor in list(options.items()):
            options[f"{name}_lengths"] = torch.full_like(lengths, tensor.size(1))
    encoded, lengths = model.encode(speech, lengths, **options)
    return encoded[0] if isinstance(encoded, tuple) else encoded, lengths


def conformer(**encoder_conf) -> dict:
    """Config of a small CTC Conformer with latest relative positions."""
    settings = {**ENCODER_SIZE, "attention_heads": 2, "macaron_style": True}
    settings |= {"rel_pos_type": "latest", "cnn_module_kernel": 7, **encoder_conf}
    del settings["cgmlp_linear_units"]
    return {
        "token_type": "char",
        "frontend_conf": {"n_fft": 400, "hop_length": 160},
        "normalize": "global_mvn",
        "encoder": "conformer",
        "encoder_conf": {k: v for k, v in settings.items() if v is not None},
        "decoder": None,
        "model_conf": {"ctc_weight": 1.0},
    }


@contextlib.contextmanager
def stub_transducer_loss():
    """Stub for the transducer loss package, if it is not installed."""
    if "warprnnt_pytorch" in sys.modules:
        yield
        return
    module = types.ModuleType("warprnnt_pytorch")
    module.RNNTLoss = lambda **conf: torch.nn.Identity()
    sys.modules["warprnnt_pytorch"] = module
    try:
        yield
    finally:
        del sys.modules["warprnnt_pytorch"]


@dataclasses.dataclass
class Trained:
    """A recipe directory with a trained ASR model, and the model in memory."""

    root: Path
    stock: torch.nn.Module
    conf: dict

    @property
    def exp(self) -> Path:
        return self.root / "exp" / "asr_train"

    @property
    def config(self) -> Path:
        return self.exp / "config.yaml"

    @property
    def weights(self) -> Path:
        return self.exp / "valid.acc.ave.pth"

    def save_config(self, **changes) -> None:
        self.config.write_text(yaml.safe_dump({**self.conf, **changes}))

    def save_weights(self, state: dict) -> None:
        torch.save(state, self.weights)

    def pack(self, with_stats: bool = False) -> Path:
        """Pack from the recipe folder, as ESPnet's asr.sh does."""
        outpath = self.root / "packed.zip"
        task = task_of(self.conf)
        cmd = [task.command, "--outpath", str(outpath)]
        cmd += [f"--{task.config_key}", str(self.config)]
        cmd += [f"--{task.weights_key}", str(self.weights)]
        extra = [self.root / self.conf["bpemodel"]] if self.conf["bpemodel"] else []
        extra += [self.root / "exp" / "stats" / "feats_stats.npz"] if with_stats else []
        cmd += [word for path in extra for word in ("--option", str(path))]
        with contextlib.chdir(self.root):
            espnet_pack(cmd)
        return outpath


def perturb_weights(model: torch.nn.Module) -> None:
    """Perturb all weights, because initial values would hide lost parameters."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.startswith("normalize."):
                tensor.add_(0.1 * torch.rand_like(tensor) * (tensor.abs() + 0.5))


def train(root: Path, conf: dict, tokens: list[str] | None = None) -> Trained:
    """Write the output of an ESPnet ASR training."""
    task = task_of(conf)
    tokens = tokens or TOKENS
    if task is not ASR:
        unknown_language = [PROMPT[0]] if task is S2T_CTC else []
        symbols = [*SYMBOLS[:-3], *unknown_language]
        tokens = [*tokens[:2], *symbols, *tokens[2:-1], *SYMBOLS[-3:]]
    conf = {
        **vars(task.task_class().get_parser().parse_args([])),
        **copy.deepcopy(conf),
        "token_list": tokens,
    }
    exp, stats = root / "exp" / "asr_train", root / "exp" / "stats" / "feats_stats.npz"
    exp.mkdir(parents=True)
    stats.parent.mkdir()
    rng = np.random.default_rng(0)
    bins = conf["frontend_conf"].get("n_mels", 80)
    mean, variance = rng.normal(-4, 2, bins), rng.uniform(4, 9, bins)
    np.savez(stats, count=10, sum=10 * mean, sum_square=10 * (mean**2 + variance))
    if conf["normalize"] == "global_mvn":
        conf["normalize_conf"] = {"stats_file": "exp/stats/feats_stats.npz"}
    if conf["bpemodel"]:
        (root / conf["bpemodel"]).parent.mkdir(parents=True)
        (root / conf["bpemodel"]).write_bytes(b"a sentencepiece model")
    torch.manual_seed(0)
    with contextlib.chdir(root), stub_transducer_loss():
        args = argparse.Namespace(**copy.deepcopy(conf))
        stock = task.task_class().build_model(args)
    perturb_weights(stock)
    trained = Trained(root, stock.eval(), conf)
    trained.save_config()
    trained.save_weights(stock.state_dict())
    return trained


@pytest.fixture
def train_asr(tmp_path):
    """A function that builds an ASR model from a config or a published model's name."""

    def make(conf: dict | str) -> Trained:
        return train(
            tmp_path / "recipe", published(conf) if isinstance(conf, str) else conf
        )

    return make


@pytest.fixture
def small_conformer():
    return conformer


@pytest.fixture
def published_conf():
    return published


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Use a cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def speech():
    """Two utterances of different length: audio (2, 12000) and lengths (2,)."""
    audio = 0.1 * torch.randn(2, 12000, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([12000, 7777])
    audio[1, 7777:] = 0
    return audio, lengths
