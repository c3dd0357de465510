"""Start a training from a trained speaker model, on the same or on other speakers.

Network and front end are the trained model's; what a training configuration may change
is the loss, and what affects training only.
"""

import argparse
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espnet2.train.class_choices import ClassChoices
from espnet2_sv.asr.prompt import SYMBOLS
from espnet2_sv.asr.resolve import original_source
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import (
    ARCHITECTURE_KEYS,
    REGULARISATION_KEYS,
    build_network,
    with_changes,
)
from espnet2_sv.models.choices import (
    encoder_choices,
    frontend_choices,
    head_choices,
    normalize_choices,
    preencoder_choices,
)
from espnet2_sv.models.class_centres import keep_class_centres
from espnet2_sv.models.espnet_names import load_own_weights
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.zoo.checkpoint import load_strictly
from espnet2_sv.zoo.files import ModelFiles
from espnet2_sv.zoo.source import SpeakerSource

NETWORK_CHOICES = (
    frontend_choices,
    normalize_choices,
    preencoder_choices,
    encoder_choices,
    head_choices,
)
DEFAULT_SAMPLE_RATE = 16000  # Hz, of --sample_rate
# Where the trained model's own initialisation is recorded
_HISTORY_KEYS = ("asr_init", "asr_teacher")


def init_from_speaker_model(
    args: argparse.Namespace,
) -> tuple[SpeakerModel, dict[str, Any]]:
    """Build the model of ``--init_sv`` with its weights and the loss of this run.

    Args:
        args: Training arguments. Of the trained encoder's options, ``encoder_conf`` may
            change :data:`REGULARISATION_KEYS`.

    Returns:
        The model, and the arguments to record in this run's config.yaml.

    Raises:
        SVError: The source is not a speaker model, or an argument contradicts its
            architecture.
    """
    files = find_initial_model(args.init_sv).files
    require_architecture(args, files, NETWORK_CHOICES)
    changes = {key: files.settings.get(key) for key in ARCHITECTURE_KEYS}
    overrides = {
        key: value
        for key, value in args.encoder_conf.items()
        if key in REGULARISATION_KEYS
    }
    changes["encoder_conf"] = {**(changes["encoder_conf"] or {}), **overrides}
    changes |= initialisation(args, files)
    args = with_changes(args, changes)
    model = build_network(args)
    load_initial_weights(model, files, args)
    return model, changes


def find_initial_model(source: str, adaptor: bool = False) -> SpeakerSource:
    """Find the speaker model of ``--init_sv``.

    Args:
        source: The model, from any source.
        adaptor: Whether an adaptor is to be trained.

    Raises:
        SVError: There is none, it is one of ESPnet's own speaker task, or an adaptor
            where another kind of model is to be trained, or vice versa.
    """
    found = SpeakerSource.find(source)
    found.require_own(
        "--init_sv needs one of this project; ESPnet's spk_train fine-tunes this one"
    )
    if (found.task == "adaptor") != adaptor:
        raise SVError(
            f"--init_sv {source}: sv_train --sv_task {found.task} trains this model on"
        )
    return found


def asr_of_initial_model(source: str) -> str:
    """Return a source of the ASR model that the adaptor of ``--init_sv`` reads.

    Raises:
        SVError: It is no adaptor, or its ASR model cannot be found.
    """
    find_initial_model(source, adaptor=True)
    asr = SpeakerSource.resolve(source).asr
    assert asr is not None, "adaptors have one"
    return str(asr.root)


def initialisation(args: argparse.Namespace, files: ModelFiles) -> dict[str, Any]:
    """Return what a config.yaml records of the trained model that a run starts from."""
    history = {
        key: files.settings[key] for key in _HISTORY_KEYS if key in files.settings
    }
    return history | {"init_sv": None, "init_sv_source": original_source(args.init_sv)}


def require_architecture(
    args: argparse.Namespace, files: ModelFiles, parts: Sequence[ClassChoices]
) -> None:
    """Refuse training arguments that contradict a trained model.

    An argument with its default value counts as not given.

    Args:
        args: Training arguments.
        files: The trained model.
        parts: The parts of the network that have options.

    Raises:
        SVError: It names the first key that differs, with both values.
    """
    for key, given, trained in _contradictions(args, files.settings, parts):
        raise SVError(
            f"{key} is {given} in this training but {trained} in the speaker model"
            f" {files.name or files.config}, whose network and front end are kept:"
            f" leave {key} out"
        )


def _contradictions(
    args: argparse.Namespace,
    trained: Mapping[str, Any],
    parts: Sequence[ClassChoices],
) -> Iterator[tuple[str, Any, Any]]:
    """Yield key, value in this training and value in the trained model."""
    for choices in parts:
        part = choices.name
        name, conf = getattr(args, part), getattr(args, f"{part}_conf") or {}
        kind = trained.get(part)
        if name != kind:
            if name != choices.default or conf:
                yield part, name, kind
            continue
        trained_conf = trained.get(f"{part}_conf") or {}
        for key, value in conf.items():
            if part == "encoder" and key in REGULARISATION_KEYS:
                continue
            used = trained_conf.get(key, _default(choices, kind, key))
            if value != used:
                yield f"{part}_conf {key}", value, used
    for key in SYMBOLS:
        if getattr(args, key, None) not in (None, trained.get(key)):
            yield key, getattr(args, key), trained.get(key)
    if args.sample_rate not in (DEFAULT_SAMPLE_RATE, trained.get("sample_rate")):
        yield "sample_rate", args.sample_rate, trained.get("sample_rate")


def _default(choices: ClassChoices, kind: str | None, key: str) -> Any:
    """Return the default value of a part's option; None if it has none."""
    if kind is None:
        return None
    parameter = inspect.signature(choices.get_class(kind)).parameters.get(key)
    if parameter is None or parameter.default is parameter.empty:
        return None
    return parameter.default


def load_initial_weights(
    model: SpeakerModel, files: ModelFiles, args: argparse.Namespace
) -> None:
    """Load a trained model's weights for fine-tuning, with the classes of this run.

    Args:
        model: Model of the same architecture, changed in place.
        files: The trained model.
        args: Training arguments of this run.

    Raises:
        SVError: The weights do not match.
    """
    state = load_own_weights(files.weights)
    state = keep_class_centres(state, model.state_dict(), files, args)
    load_strictly(model, state, files.weights)
    logging.info(
        f"Initialised from the speaker model {args.init_sv_source} ({files.weights})"
    )
