"""Rebuilding trained models from their config and weights, for use.

Nothing here imports ESPnet's task modules, which takes as long as all the rest of the start of a
command; an adaptor's ASR model needs them in the end.
"""

from argparse import Namespace
from pathlib import Path

from espnet2_sv.asr.bundle import load_from_files as load_asr_files
from espnet2_sv.asr.checkpoint import load_config, load_state_dict
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.tasks.adaptor_model import find_asr, load_on
from espnet2_sv.tasks.build import build_network, load_strictly


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
        load_strictly(model, without_branch(load_state_dict(weights)), where=str(weights))
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
        asr: The ASR model. If not given, it is the one in the same package, or else the one that
            training started from.

    Returns:
        (model, training arguments).

    Raises:
        SVError: There is no ASR model, or it is another one than the adaptor was trained on.
    """
    files = find_asr(config, asr)
    return load_on(load_asr_files(files, str(files.root)), config, weights, device)
