"""Rebuilding a trained speaker model from wherever it is kept."""

from argparse import Namespace
from pathlib import Path

import torch

from espnet2_sv.asr.bundle import load_from_files as load_asr_files
from espnet2_sv.errors import SVError
from espnet2_sv.models.adaptor_model import find_asr, load_on
from espnet2_sv.models.build import build_network, load_strictly
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.tasks import check_task_name
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.source import find_model_files


def load_speaker_model(
    source: str | Path, device: str = "cpu", asr: str | Path | None = None
) -> tuple[torch.nn.Module, Namespace]:
    """Load a speaker model for inference.

    Args:
        source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory with
            ``meta.yaml`` or the ``exp/`` directory of a training run.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        asr: The ASR model that a speaker adaptor reads, from any source; by default the
            one in its package, or the one that its training started from.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: The source is not a speaker model of this project, its weights do not
            fit its settings, or the device is not there.
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
                f"{path}: no such file; give the exp directory or the packed zip of a"
                " model"
            )
    name = task_name(config)
    if asr is not None and name != "adaptor":
        raise SVError(
            f"{config}: sv_task {name} needs no ASR model in use; leave asr out"
        )
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
            f"device {device}: this machine has {torch.cuda.device_count()} usable"
            " GPUs; use cpu"
        )


def task_name(config: str | Path) -> str:
    """Return the ``sv_task`` of a training configuration."""
    settings = load_config(config)
    if not isinstance(settings.get("sv_task"), str):
        raise SVError(
            f"{config}: has no sv_task, so it is not the config of an espnet2_sv"
            " speaker model"
        )
    return settings["sv_task"]


def rebuild(
    config: str | Path, weights: str | Path | None, device: str = "cpu", **changed
) -> tuple[SpeakerModel, Namespace]:
    """Rebuild a model that needs nothing but its own config and weights: any but an adaptor.

    What only training needs, an ASR branch and its teacher, is left out.

    Args:
        config: The config.yaml of training.
        weights: The weights; random ones if not given.
        device: Where the model goes.
        changed: Settings that replace those of the config.

    Returns:
        (model, training arguments).

    Raises:
        SVError: A tensor is missing, left over or does not fit.
    """
    args = Namespace(**(load_config(config) | changed))
    args.init = None  # the weights come from the file
    model = build_network(args)
    if weights is not None:
        load_strictly(
            model, without_branch(load_state_dict(weights)), where=str(weights)
        )
    return model.to(device), args


def rebuild_adaptor(
    config: str | Path,
    weights: str | Path | None,
    device: str = "cpu",
    asr: str | Path | None = None,
) -> tuple[SpeakerModel, Namespace]:
    """Rebuild an adaptor on its ASR model.

    Args:
        config: The adaptor's config.yaml.
        weights: The adaptor's weights; random ones if not given.
        device: Where both go.
        asr: The ASR model. If not given, it is the one in the same package, or else the
            one that training started from.

    Returns:
        (model, training arguments).

    Raises:
        SVError: There is no ASR model, or it is another one than the adaptor was
            trained on.
    """
    files = find_asr(config, asr)
    return load_on(load_asr_files(files, str(files.root)), config, weights, device)
