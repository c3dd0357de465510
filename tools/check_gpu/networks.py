"""Networks of the recipes' configurations, with random weights."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from bench.networks import asr_settings
from torch.overrides import TorchFunctionMode

from espnet2.tasks.asr import ASRTask
from espnet2_sv.fileio import atomic_write
from espnet2_sv.tasks import get_task

EGS = Path(__file__).resolve().parents[2] / "egs2"
VOXCELEB = EGS / "voxceleb/sv1/conf"
MINI_AN4 = EGS / "mini_an4/sv1/conf"
RATE = 16000
SCALE = 0.1  # relative change of weights, so that no layer is an identity
# Of every configuration where sizes are tiny
TINY_ENCODERS: dict[str, dict[str, Any]] = {
    "conformer": {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 2,
    },
    "ecapa_tdnn": {"ndim": 16, "output_size": 24},
    "resnet": {"resnet_type": "resnet18", "m_channels": 2},
    "ska_tdnn": {"ndim": 16, "ska_dim": 4, "output_size": 24},
}


def task_name(config: Path) -> str:
    """Return the task of a configuration: train_sv_TASK_VARIANT.yaml."""
    return config.stem.removeprefix("train_sv_").split("_")[0]


def read_config(config: Path, tiny: bool = False) -> dict[str, Any]:
    """Read a training configuration.

    Args:
        config: A recipe's configuration.
        tiny: Reduce the network to a few hundred values a layer.
    """
    conf = yaml.safe_load(config.read_text(encoding="utf-8"))
    if tiny:
        if "encoder" in conf:
            conf["encoder_conf"] |= TINY_ENCODERS[conf["encoder"]]
        conf.setdefault("head_conf", {})["embed_dim"] = 16
        if conf.get("head") == "adaptor":
            conf["head_conf"] |= {"adaptor_dim": 16, "linear_units": 32}
        if "branch_conf" in conf:
            conf["branch_conf"] |= {"heads": 2, "dim": 16}
    return conf


def fewer_blocks(conf: dict[str, Any], num_blocks: int) -> dict[str, Any]:
    """Limit the number of a Conformer's blocks; their sizes stay."""
    encoder = conf.get("encoder_conf") or {}
    if encoder.get("num_blocks", 0) > num_blocks:
        encoder["num_blocks"] = num_blocks
    return conf


def write_config(folder: Path, name: str, conf: dict[str, Any]) -> Path:
    """Write a configuration."""
    path = folder / f"{name}.yaml"
    with atomic_write(path) as stream:  # several processes may write the same
        yaml.safe_dump(conf, stream)
    return path


def write_asr(
    folder: Path, num_blocks: int, dim: int, vocabulary: int, seed: int = 0
) -> Path:
    """Write the exp directory of an ASR Conformer with random weights.

    Its best token varies from frame to frame, so that transcripts are long.

    Args:
        folder: An empty folder.
        num_blocks: Number of blocks.
        dim: Dimension of the blocks.
        vocabulary: Number of tokens.
        seed: Seed of the weights.
    """
    settings = asr_settings(num_blocks, dim, vocabulary)
    if dim < 256:
        settings["encoder_conf"] |= {"linear_units": 4 * dim, "cnn_module_kernel": 15}
    # The same on every device
    rates = ("dropout_rate", "positional_dropout_rate", "attention_dropout_rate")
    settings["encoder_conf"] |= dict.fromkeys(rates, 0.0)
    torch.manual_seed(seed)
    model = ASRTask.build_model(argparse.Namespace(**settings))
    vary(model.encoder)
    vary_best_token(model)
    torch.save(model.state_dict(), folder / "valid.acc.ave.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


@torch.no_grad()
def vary(model: torch.nn.Module) -> None:
    """Change all weights by a tenth, some of which are 0 or 1 initially."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            size = float(tensor.abs().mean()) or 1.0
            tensor.add_(SCALE * size * torch.randn_like(tensor))


@torch.no_grad()
def vary_best_token(model: torch.nn.Module) -> None:
    """Give the CTC layer of a random network outputs that vary from frame to frame."""
    model.eval()
    noise = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    frames, _ = model.encode(noise, torch.tensor([RATE]))
    layer = model.ctc.ctc_lo
    layer.weight.copy_(torch.randn_like(layer.weight))
    layer.bias.copy_(-layer.weight @ frames[0].mean(0))


def parse(config: Path, output_dir: Path, options: Iterable[str] = ()):
    """Parse a configuration with the parser of its task.

    Returns:
        The task class and its arguments.
    """
    task = get_task(task_name(config))
    command = ["--config", str(config), "--output_dir", str(output_dir), *options]
    return task, task.get_parser().parse_args(command)


def comparable(model: torch.nn.Module) -> torch.nn.Module:
    """Make a network comparable between devices.

    Dropout is turned off, because random numbers differ. Rectifiers become smooth
    (SiLU): of millions of units, rounding switches a few on or off, which changes
    gradients by the root of their part, 1e-3.
    """
    for module in list(model.modules()):
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.SiLU())
    return model


class SmoothRectifiers(TorchFunctionMode):
    """Makes rectifiers smooth that are called as functions, as in ESPnet's ResNet."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call SiLU in place of a rectifier, and everything else as it is."""
        if func is torch.nn.functional.relu:
            return torch.nn.functional.silu(args[0])
        return func(*args, **(kwargs or {}))


def voices(
    batch: int, seconds: float, classes: int, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Return a training batch of buzzes of different pitch and timbre, with labels.

    The embeddings of white noise are so much alike that batch normalisation, which
    divides by their deviation, would amplify rounding errors.

    Args:
        batch: Number of crops.
        seconds: Their length.
        classes: Number of speakers.
        seed: Seed of timbre and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = round(seconds * RATE)
    time = torch.arange(samples) / RATE
    pitch = torch.linspace(80, 320, batch)[:, None, None]  # Hz
    harmonics = torch.arange(1, 21)[None, :, None]
    strength = torch.rand(batch, 20, 1, generator=generator).square()
    syllables = 1 + torch.sin(
        2 * torch.pi * torch.linspace(2, 6, batch)[:, None] * time
    )
    buzz = (strength * torch.sin(2 * torch.pi * pitch * harmonics * time)).sum(1)
    noise = torch.randn(batch, samples, generator=generator)
    return {
        "speech": 0.02 * syllables * buzz + 0.005 * noise,
        "speech_lengths": torch.full((batch,), samples),
        "spk_labels": torch.arange(batch)[:, None] % classes,
    }
