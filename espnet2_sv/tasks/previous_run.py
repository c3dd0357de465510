"""Checks of a resumed run against its previous settings."""

import argparse
from pathlib import Path
from typing import Any

from espnet2_sv.asr.prompt import SYMBOLS
from espnet2_sv.asr.resolve import original_source
from espnet2_sv.data.labels import LABELS_FILE, SpeakerLabels
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import ARCHITECTURE_KEYS, BACKBONE_KEYS
from espnet2_sv.train.checkpoint import has_checkpoint
from espnet2_sv.zoo.checkpoint import load_config


def settings_of_previous_run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the config.yaml of the run to resume, or None if there is no such run."""
    folder = Path(args.output_dir or "")
    config = folder / "config.yaml"
    if not (args.resume and config.exists() and has_checkpoint(folder)):
        return None
    return load_config(config)


def check_previous_run(args: argparse.Namespace, labels: SpeakerLabels) -> None:
    """Check that a resumed run has the same classes and the same model as before.

    To be called before config.yaml is overwritten.

    Args:
        args: Training arguments.
        labels: Class of each speaker at each speed in this run.

    Raises:
        SVError: The classes or the model differ.
    """
    saved = Path(args.output_dir) / LABELS_FILE
    if args.resume and saved.exists():
        SpeakerLabels.load(saved).require_same(labels, where=args.spk2utt)
    previous = settings_of_previous_run(args)
    if previous is None:
        return
    keys = ["loss", "loss_conf"]
    # What comes from the ASR model unless it is given
    taken_over = ("conditioning_vocab", *SYMBOLS)
    keys += [key for key in SYMBOLS if getattr(args, key, None)]
    if not args.init_sv:  # which would determine the network
        keys += ["head", "head_conf"]
    keys += [key for key in ("branch_conf",) if hasattr(args, key)]
    # Source of the encoder; in distillation, --asr is the teacher
    asr = args.init_asr if hasattr(args, "init_asr") else getattr(args, "asr", None)
    if not (asr or args.init_sv):
        keys += [key for key in BACKBONE_KEYS if key not in taken_over]
    for key in keys:
        # a run of before there was this key has no value, not even an empty one
        if (previous.get(key) or None) != (getattr(args, key) or None):
            raise SVError(
                f"{args.output_dir}: was trained with {key} {previous.get(key)}, not"
                f" {getattr(args, key)}; choose another --output_dir"
            )


def encoder_of_previous_run(
    args: argparse.Namespace, source: str
) -> dict[str, Any] | None:
    """Return the arguments that a resumed run took over from an ASR model.

    Args:
        args: Training arguments.
        source: The ASR model.

    Returns:
        Backbone config and ``asr_init``; None if no run is resumed.

    Raises:
        SVError: The run was initialised from another ASR model.
    """
    previous = settings_of_previous_run(args)
    if previous is None:
        return None
    old_source = (previous.get("asr_init") or {}).get("source")
    if old_source != str(source):
        raise SVError(
            f"{args.output_dir}: was initialised from the ASR model {old_source}, not"
            f" {source}; choose another --output_dir"
        )
    return {key: previous.get(key) for key in (*BACKBONE_KEYS, "asr_init")}


def initial_model_of_previous_run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the arguments that a resumed run took over from a speaker model.

    Args:
        args: Training arguments, with ``init_sv``.

    Returns:
        What describes the network and where it came from; None if no run is resumed.

    Raises:
        SVError: The run was initialised from another speaker model.
    """
    previous = settings_of_previous_run(args)
    if previous is None:
        return None
    old, new = previous.get("init_sv_source"), original_source(args.init_sv)
    if old not in (new, args.init_sv):
        raise SVError(
            f"{args.output_dir}: was initialised from the speaker model {old}, not"
            f" {new}; choose another --output_dir"
        )
    kept = (*ARCHITECTURE_KEYS, "asr", "asr_init", "init_sv_source")
    return {key: previous[key] for key in kept if key in previous} | {"init_sv": None}


def check_teacher_of_previous_run(
    args: argparse.Namespace, weights_sha256: str
) -> None:
    """Check that a resumed run has the same ASR teacher as before.

    Args:
        args: Training arguments.
        weights_sha256: Hash of the teacher's weights.

    Raises:
        SVError: The run was trained with another teacher.
    """
    previous = settings_of_previous_run(args) or {}
    old_sha256 = (previous.get("asr_teacher") or {}).get("weights_sha256")
    if old_sha256 not in (None, weights_sha256):
        raise SVError(
            f"{args.output_dir}: had another ASR teacher, with the weights"
            f" {old_sha256}, not {weights_sha256} ({args.asr}); choose another"
            " --output_dir"
        )


def prompt_of_run(
    args: argparse.Namespace, part: str | None = None
) -> dict[str, str | None]:
    """Return the symbols for an OWSM-CTC encoder: those given, or of a resumed run.

    Args:
        args: Training arguments.
        part: The entry of config.yaml that records them; its top level by default.
    """
    previous = settings_of_previous_run(args) or {}
    if part is not None:
        previous = previous.get(part) or {}
    return {key: getattr(args, key, None) or previous.get(key) for key in SYMBOLS}
