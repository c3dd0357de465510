"""Load trained speaker models for inference.

Nothing here imports ESPnet's task modules, whose import takes as long as the rest of a
command's start-up; only an adaptor needs them, for its ASR model.
"""

import contextlib
import copy
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from espnet2_sv.asr.bundle import AsrBundle, load_asr_bundle
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import build_network
from espnet2_sv.models.build_adaptor import build_adaptor
from espnet2_sv.models.espnet_names import load_own_weights
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import check_sizes, load_state_dict, load_strictly
from espnet2_sv.zoo.files import ModelFiles
from espnet2_sv.zoo.source import SpeakerSource

# Types of the arguments that a trained model's config.yaml must have
TRAINED_ARGUMENTS = {
    "head": str,
    "head_conf": dict,
    "loss": str | None,
    "loss_conf": dict | None,
    "sample_rate": int,
    "spk_num": int | None,
}


def load_speaker_model(
    source: SpeakerSource | str | Path,
    device: str = "cpu",
    asr: str | Path | None = None,
) -> tuple[SpeakerModel, Namespace]:
    """Load a speaker model for inference.

    Parts that only training needs, such as an ASR branch and its teacher, are omitted.

    Args:
        source: A resolved source, or a model-zoo or Hub tag, a packed ``.zip``, an
            unpacked directory with ``meta.yaml`` or the ``exp/`` directory of a
            training run.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        asr: ASR model of an adaptor, from any source. Default: the one in the adaptor's
            package, or else the one used in training.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: The source is not a speaker model of this project, its weights do not
            match its config, or the device does not exist.
    """
    check_device(device)
    if not isinstance(source, SpeakerSource):
        source = SpeakerSource.resolve(source, asr=asr)
    source.require_own("it can be embedded with and compared, but nothing else")
    if source.asr is not None:
        return load_adaptor(load_asr_bundle(source.asr), source.files, device)
    state = load_own_weights(source.files.weights)
    args = trained_arguments(source.files, state)
    with building(source.files):
        model = build_network(args)
    load_strictly(model, state, source.files.weights)
    return model.to(device).eval(), args


def load_adaptor(
    bundle: AsrBundle, files: ModelFiles, device: str = "cpu"
) -> tuple[SpeakerModel, Namespace]:
    """Load a trained adaptor that shares the modules of an ASR model in memory.

    Args:
        bundle: The ASR model.
        files: The adaptor.
        device: Device of both.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: The weights do not match the config, or the adaptor was trained on
            another ASR model.
    """
    state = load_state_dict(files.weights)
    args = trained_arguments(files, state)
    with building(files):
        model = build_adaptor(bundle, args)
    load_strictly(model, state, files.weights)
    return model.to(device).eval(), args


def trained_arguments(files: ModelFiles, state: dict[str, torch.Tensor]) -> Namespace:
    """Return a trained model's arguments, checked before anything is built.

    Args:
        files: The model, which is untrusted.
        state: Its weights.

    Raises:
        SVError: An argument is missing, of another type or out of range, or there are
            more encoder blocks than the weights have.
    """
    optional: dict[str, Any] = {"spk_num": None, "loss": None}
    optional |= {"specaug": None, "specaug_conf": {}}
    settings = optional | copy.deepcopy(files.settings)
    settings["init"] = None  # no need to initialise weights that are loaded next
    for key, kinds in TRAINED_ARGUMENTS.items():
        value = settings.get(key)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise SVError(f"{files.config}: {key} is missing or of another type")
    for key in ("sample_rate", "spk_num"):
        if settings[key] is not None and settings[key] <= 0:
            raise SVError(f"{files.config}: {key} {settings[key]} must be positive")
    check_sizes(files.config, settings, state)
    return Namespace(**settings)


@contextlib.contextmanager
def building(files: ModelFiles) -> Iterator[None]:
    """Report in one line that a trained model cannot be built from its config."""
    try:
        yield
    except (SVError, MemoryError):
        raise
    except Exception as e:  # networks raise all kinds of errors on invalid options
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise SVError(f"{files.config}: the model cannot be built: {reason}") from e


def check_device(device: str) -> None:
    """Check that a device exists.

    Raises:
        SVError: The device is unknown, or this machine does not have it.
    """
    try:
        found = torch.device(device)
        if found.type not in ("cpu", "cuda"):
            raise RuntimeError
    except RuntimeError as e:
        raise SVError(f"device {device!r} is unknown; use cpu, cuda or cuda:N") from e
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise SVError(
            f"device {device}: this machine has {torch.cuda.device_count()} usable"
            " GPUs; use cpu"
        )
