"""What the run that is being resumed was trained with."""

import argparse
from pathlib import Path
from typing import Any

from espnet2_sv.data.labels import LABELS_FILE, SpeakerLabels
from espnet2_sv.errors import SVError
from espnet2_sv.models.build import BACKBONE_KEYS
from espnet2_sv.train.checkpoint import has_checkpoint
from espnet2_sv.zoo.checkpoint import load_config


def settings_of_previous_run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the configuration of the run that is being resumed, if there is one."""
    folder = Path(args.output_dir or "")
    config = folder / "config.yaml"
    if not (args.resume and config.exists() and has_checkpoint(folder)):
        return None
    return load_config(config)


def check_previous_run(args: argparse.Namespace, labels: SpeakerLabels) -> None:
    """Refuse to resume with other classes or another network.

    This comes before config.yaml is written again.

    Args:
        args: Training arguments.
        labels: Class of each speaker at each speed in this run.

    Raises:
        SVError: One line that names what differs.
    """
    saved = Path(args.output_dir) / LABELS_FILE
    if args.resume and saved.exists():
        SpeakerLabels.load(saved).require_same(labels, where=args.spk2utt)
    previous = settings_of_previous_run(args)
    if previous is None:
        return
    keys = ["head", "head_conf", "loss", "loss_conf"]
    keys += [key for key in ("branch_conf",) if hasattr(args, key)]
    # the ASR model that the encoder comes from; in distillation --asr is the teacher
    asr = args.init_asr if hasattr(args, "init_asr") else getattr(args, "asr", None)
    if not (asr or args.init_sv):  # else they decide what the encoder is
        keys += [key for key in BACKBONE_KEYS if key != "conditioning_vocab"]
    for key in keys:
        if previous.get(key) != getattr(args, key):
            raise SVError(
                f"{args.output_dir}: was trained with {key} {previous.get(key)}, not"
                f" {getattr(args, key)}; choose another --output_dir"
            )


def encoder_of_previous_run(
    args: argparse.Namespace, source: str
) -> dict[str, Any] | None:
    """Return what a run that is being resumed took from the ASR model ``source``.

    Raises:
        SVError: The run was started from another ASR model.
    """
    previous = settings_of_previous_run(args)
    if previous is None:
        return None
    started_from = (previous.get("asr_init") or {}).get("source")
    if started_from != str(source):
        raise SVError(
            f"{args.output_dir}: was started from the ASR model {started_from}, not"
            f" {source}; choose another --output_dir"
        )
    return {key: previous.get(key) for key in (*BACKBONE_KEYS, "asr_init")}


def check_teacher_of_previous_run(
    args: argparse.Namespace, weights_sha256: str
) -> None:
    """Refuse to resume with another ASR teacher.

    Args:
        args: Training arguments.
        weights_sha256: Hash of the teacher's weights.

    Raises:
        SVError: The run was trained with other weights.
    """
    previous = settings_of_previous_run(args) or {}
    before = (previous.get("asr_teacher") or {}).get("weights_sha256")
    if before not in (None, weights_sha256):
        raise SVError(
            f"{args.output_dir}: had another ASR teacher, with the weights {before},"
            f" not {weights_sha256} ({args.asr}); choose another --output_dir"
        )
