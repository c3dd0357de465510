"""Loading trained speaker models for use.

Nothing here imports ESPnet's task modules, which takes as long as all the rest of the
start of a command; an adaptor's ASR model needs them in the end.
"""

import copy
from argparse import Namespace
from pathlib import Path

import torch

from espnet2_sv.asr.bundle import load_asr_bundle
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import build_network
from espnet2_sv.models.build_adaptor import load_adaptor
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_state_dict, load_strictly
from espnet2_sv.zoo.source import SpeakerSource


def load_speaker_model(
    source: SpeakerSource | str | Path,
    device: str = "cpu",
    asr: str | Path | None = None,
) -> tuple[SpeakerModel, Namespace]:
    """Load a speaker model for inference.

    What only training needs, such as an ASR branch and its teacher, is left out.

    Args:
        source: A resolved source, or a model-zoo or Hub tag, a packed ``.zip``, an
            unpacked directory with ``meta.yaml`` or the ``exp/`` directory of a
            training run.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        asr: The ASR model that an adaptor reads, from any source; by default the one in
            its package, or else the one that its training used.

    Returns:
        The model in eval mode on ``device``, and its training arguments.

    Raises:
        SVError: The source is not a speaker model of this project, its weights do not
            fit its settings, or the device does not exist.
    """
    check_device(device)
    if not isinstance(source, SpeakerSource):
        source = SpeakerSource.resolve(source, asr=asr)
    if source.asr is not None:
        model, args = load_adaptor(load_asr_bundle(source.asr), source.files, device)
        return model.eval(), args
    args = Namespace(**copy.deepcopy(source.settings))
    args.init = None  # the weights come from the file
    model = build_network(args)
    weights = source.files.weights
    load_strictly(model, without_branch(load_state_dict(weights)), weights)
    return model.to(device).eval(), args


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have, in one line."""
    try:
        wanted = torch.device(device)
    except RuntimeError as e:
        raise SVError(f"device {device!r} is unknown; use cpu, cuda or cuda:N") from e
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise SVError(
            f"device {device}: this machine has {torch.cuda.device_count()} usable"
            " GPUs; use cpu"
        )
