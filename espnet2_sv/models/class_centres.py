"""The class centres of a trained speaker model, for a training that goes on from it."""

import argparse
import logging

import torch

from espnet2_sv.data.labels import LABELS_FILE, SpeakerLabels, Speeds
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import ModelFiles

_OF_THE_LOSS = "loss."


def keep_class_centres(
    state: dict[str, torch.Tensor],
    files: ModelFiles,
    args: argparse.Namespace,
) -> dict[str, torch.Tensor]:
    """Fit the class centres of a trained model to the classes of this training.

    Both have the same classes, or the trained model has each speaker at several speeds
    and this training has the original speed only, as in large-margin fine-tuning: then
    the centres of the original speed are kept, which come first.

    Args:
        state: Weights of the trained model.
        files: The trained model; beside it is its map from speakers to classes.
        args: Options of this training.

    Returns:
        The weights to start from.

    Raises:
        SVError: Other speakers, or other speeds.
    """
    trained = files.settings
    speeds = Speeds(trained.get("speed_perturb_factors") or (1.0,))
    there, here = trained.get("spk_num"), args.spk_num
    dropping = len(speeds) > 1 and here * len(speeds) == there
    if there is not None and there != here and not dropping:
        raise SVError(
            f"{files.config}: was trained on {there} classes, this training has {here};"
            " give the same speakers, at the same speeds or at the original only"
            " (speed_perturb_factors)"
        )
    labels = files.config.with_name(LABELS_FILE)
    if labels.exists() and args.spk2utt:
        classes = SpeakerLabels.from_spk2utt(args.spk2utt)
        if not dropping:
            classes = Speeds(args.speed_perturb_factors).classes(classes)
        trained_on = SpeakerLabels.load(labels).speakers
        SpeakerLabels(trained_on[: here if dropping else None]).require_same(
            classes, where=args.spk2utt
        )
    if not dropping:
        return state
    logging.info(
        f"Kept the {here} class centres of the original speed, dropped {there - here}"
    )
    # A loss with K centres per class has them in K rows, one class after the other.
    return {
        name: (
            x[: len(x) // len(speeds)]
            if name.startswith(_OF_THE_LOSS) and x.ndim
            else x
        )
        for name, x in state.items()
    }
