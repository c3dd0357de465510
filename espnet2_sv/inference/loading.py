"""Rebuilding a trained speaker model from wherever it is kept."""

from argparse import Namespace
from pathlib import Path

import torch

from espnet2_sv.asr.archive import find_model_files
from espnet2_sv.asr.checkpoint import load_config
from espnet2_sv.errors import SVError
from espnet2_sv.tasks import check_task_name
from espnet2_sv.tasks.rebuild import rebuild, rebuild_adaptor


def load_speaker_model(
    source: str | Path, device: str = "cpu", asr: str | Path | None = None
) -> tuple[torch.nn.Module, Namespace]:
    """Load a speaker model for inference.

    Args:
        source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory with ``meta.yaml``
            or the ``exp/`` directory of a training run.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        asr: The ASR model that a speaker adaptor reads, from any source; by default the one in its
            package, or the one that its training started from.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: The source is not a speaker model of this project, its weights do not fit its
            settings, or the device is not there.
    """
    files = find_model_files(source, kinds="sv")
    return load_from_files(files.config, files.weights, device, asr)


def load_from_files(
    config: str | Path,
    weights: str | Path,
    device: str = "cpu",
    asr: str | Path | None = None,
) -> tuple[torch.nn.Module, Namespace]:
    """Load a speaker model from its training configuration and its weights.

    The arguments and the result are those of :func:`load_speaker_model`.
    """
    check_device(device)
    for path in (config, weights):
        if not Path(path).is_file():
            raise SVError(
                f"{path}: no such file; give the exp directory or the packed zip of a model"
            )
    name = task_name(config)
    if asr is not None and name != "adaptor":
        raise SVError(f"{config}: sv_task {name} needs no ASR model in use; leave asr out")
    check_task_name(name)
    if name == "adaptor":
        model, args = rebuild_adaptor(config, weights, device, asr)
    else:
        model, args = rebuild(config, weights, device)
    return model.eval(), args


def check_device(device: str) -> None:
    """Refuse a device that this machine has not got, in one line."""
    try:
        wanted = torch.device(device)
    except RuntimeError as e:
        raise SVError(f"device {device!r} is not known; use cpu, cuda or cuda:N") from e
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise SVError(
            f"device {device}: this machine has {torch.cuda.device_count()} usable GPUs; use cpu"
        )


def task_name(config: str | Path) -> str:
    """Return the ``sv_task`` of a training configuration."""
    settings = load_config(config)
    if not isinstance(settings.get("sv_task"), str):
        raise SVError(
            f"{config}: has no sv_task, so it is not the config of an espnet2_sv speaker model"
        )
    return settings["sv_task"]
