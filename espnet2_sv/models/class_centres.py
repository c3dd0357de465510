"""Reuse the class centres of a trained speaker model when fine-tuning it."""

import argparse
import logging

import torch

from espnet2_sv.data.labels import LABELS_FILE, SpeakerLabels, Speeds
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import ModelFiles

_LOSS_PREFIX = "loss."


def keep_class_centres(
    state: dict[str, torch.Tensor],
    files: ModelFiles,
    args: argparse.Namespace,
) -> dict[str, torch.Tensor]:
    """Select the class centres of a trained model that this training needs.

    The classes must be the same. Alternatively, the trained model may have several
    speeds of each speaker and this training only the original speed, as in large-margin
    fine-tuning: then only the centres of the original speed, which come first, are
    kept.

    Args:
        state: Weights of the trained model.
        files: The trained model, with its spk2id beside the config, if there is one.
        args: Training arguments of this run.

    Returns:
        The initial weights of this run.

    Raises:
        SVError: The speakers or the speeds do not match.
    """
    trained = files.settings
    speeds = Speeds(trained.get("speed_perturb_factors") or (1.0,))
    old, new = trained.get("spk_num"), args.spk_num
    drop_speeds = len(speeds) > 1 and new * len(speeds) == old
    if old is not None and old != new and not drop_speeds:
        raise SVError(
            f"{files.config}: was trained on {old} classes, this training has {new};"
            " use the same speakers, either at the same speeds or at the original"
            " speed only (speed_perturb_factors)"
        )
    labels = files.config.with_name(LABELS_FILE)
    if labels.exists() and args.spk2utt:
        classes = SpeakerLabels.from_spk2utt(args.spk2utt)
        if not drop_speeds:
            classes = Speeds(args.speed_perturb_factors).classes(classes)
        old_classes = SpeakerLabels.load(labels).speakers
        SpeakerLabels(old_classes[: new if drop_speeds else None]).require_same(
            classes, where=args.spk2utt
        )
    if not drop_speeds:
        return state
    logging.info(
        f"Kept the {new} class centres of the original speed, dropped {old - new}"
    )
    # A loss with K centres per class stores them in K successive rows.
    return {
        name: (
            x[: len(x) // len(speeds)]
            if name.startswith(_LOSS_PREFIX) and x.ndim
            else x
        )
        for name, x in state.items()
    }
