"""A random ASR model, and options for fast training on the tiny corpus."""

import argparse

import numpy as np
import pytest
import torch
import yaml

from espnet2.tasks.asr import ASRTask
from espnet2_sv.errors import SVError

ENCODER = {
    "output_size": 16,
    "attention_heads": 2,
    "linear_units": 32,
    "num_blocks": 3,
    "rel_pos_type": "latest",
    "macaron_style": True,
    "cnn_module_kernel": 7,
}
TOKENS = ["<blank>", "<unk>", "A", "B", "<sos/eos>"]
SMALL_ADAPTOR = [
    part
    for conf in ("adaptor_dim=8", "linear_units=16", "kernel=7")
    for part in ("--head_conf", conf)
]


def make_asr(folder, seed: int = 0):
    """Write the exp/ directory of an ASR model with random weights."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    stats = {
        "count": 10,
        "sum": rng.normal(size=40),
        "sum_square": rng.uniform(20, 30, 40),
    }
    np.savez(folder / "feats_stats.npz", **stats)
    config = vars(ASRTask.get_parser().parse_args([])) | {
        "token_list": TOKENS,
        "frontend_conf": {"n_fft": 400, "hop_length": 160, "n_mels": 40},
        "normalize": "global_mvn",
        "normalize_conf": {"stats_file": str(folder / "feats_stats.npz")},
        "encoder": "conformer",
        "encoder_conf": ENCODER,
        "decoder": None,
        "model_conf": {"ctc_weight": 1.0},
    }
    torch.manual_seed(seed)
    model = ASRTask.build_model(argparse.Namespace(**config))
    with torch.no_grad():
        # No layer is left at the identity
        for tensor in model.encoder.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.05 * torch.rand_like(tensor))
    torch.save(model.state_dict(), folder / "valid.acc.ave.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="session")
def asr_exp(tmp_path_factory):
    return make_asr(tmp_path_factory.mktemp("asr") / "exp")


@pytest.fixture
def training_command(corpus):
    """A function that returns the options of a short training run."""

    def command(output_dir, **options) -> list[str]:
        settings = {
            "output_dir": output_dir,
            "train_data_path_and_name_and_type": f"{corpus.root}/wav.scp,speech,sound",
            "valid_data_path_and_name_and_type": f"{corpus.root}/wav.scp,speech,sound",
            "spk2utt": f"{corpus.root}/spk2utt",
            "valid_trials": f"{corpus.root}/trials",
            "num_workers": 0,
            "batch_size": 4,
            "target_duration": 0.5,
            "max_epoch": 1,
            "num_iters_per_epoch": 3,
            "optim": "adamw",
            "head_conf": "embed_dim=8",
            "use_tensorboard": "false",
            "use_matplotlib": "false",
            "log_level": "ERROR",
        }
        settings |= options
        return [part for k, v in settings.items() for part in (f"--{k}", str(v))]

    return command


@pytest.fixture
def small_network():
    """Options of a model that trains in seconds."""
    conf = " ".join(f"--encoder_conf {k}={v}" for k, v in ENCODER.items())
    frontend = "--frontend_conf n_mels=40 --frontend_conf hop_length=160"
    return [*conf.split(), *frontend.split()]


def refused(call, message: str) -> None:
    """Check that a call ends in one line that matches."""
    with pytest.raises(SVError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
