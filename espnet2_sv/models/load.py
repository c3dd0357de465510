"""Load trained speaker models for inference.

Nothing here imports ESPnet's task modules, whose import takes as long as the rest of a
command's start-up; only an adaptor needs them, for its ASR model.
"""

import copy
from argparse import Namespace
from pathlib import Path

import torch

from espnet2_sv.asr.bundle import AsrBundle, load_asr_bundle
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import build_network
from espnet2_sv.models.build_adaptor import build_adaptor
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_state_dict, load_strictly
from espnet2_sv.zoo.files import ModelFiles
from espnet2_sv.zoo.source import SpeakerSource


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
    if source.asr is not None:
        return load_adaptor(load_asr_bundle(source.asr), source.files, device)
    args = _training_arguments(source.files)
    return _load_weights(build_network(args), source.files, device), args


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
    args = _training_arguments(files)
    return _load_weights(build_adaptor(bundle, args), files, device), args


def _training_arguments(files: ModelFiles) -> Namespace:
    args = Namespace(**copy.deepcopy(files.settings))
    args.init = None  # no need to initialise weights that are loaded next
    return args


def _load_weights(model: SpeakerModel, files: ModelFiles, device: str) -> SpeakerModel:
    state = without_branch(load_state_dict(files.weights))
    load_strictly(model, state, files.weights)
    return model.to(device).eval()


def check_device(device: str) -> None:
    """Check that a device exists.

    Raises:
        SVError: The device is unknown, or this machine does not have it.
    """
    try:
        found = torch.device(device)
    except RuntimeError as e:
        raise SVError(f"device {device!r} is unknown; use cpu, cuda or cuda:N") from e
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise SVError(
            f"device {device}: this machine has {torch.cuda.device_count()} usable"
            " GPUs; use cpu"
        )
