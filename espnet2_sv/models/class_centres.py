"""Reuse the class centres of a trained speaker model when fine-tuning it."""

import argparse
import logging

import torch

from espnet2_sv.data.labels import LABELS_FILE, SpeakerLabels, Speeds
from espnet2_sv.zoo.files import ModelFiles

_LOSS_PREFIX = "loss."
State = dict[str, torch.Tensor]


def keep_class_centres(
    state: State, random: State, files: ModelFiles, args: argparse.Namespace
) -> State:
    """Take a trained model's class centres over where this training has its classes.

    The trained model may have several speeds of each speaker and this training only the
    original speed, as in large-margin fine-tuning: then only the centres of the
    original speed, which come first, are kept. Other speakers or speeds, or another
    loss, get new centres, which one logged line says.

    Args:
        state: Weights of the trained model.
        random: Weights of this run's untrained model.
        files: The trained model, with its spk2id beside the config, if there is one.
        args: Training arguments of this run.

    Returns:
        The initial weights of this run.
    """
    old, new = _of_loss(state), _of_loss(random)
    speeds = Speeds(files.settings.get("speed_perturb_factors") or (1.0,))
    drop_speeds = len(speeds) > 1 and args.spk_num * len(speeds) == files.settings.get(
        "spk_num"
    )
    reason = _other_classes(files, args, drop_speeds)
    if drop_speeds:
        # A loss with K centres per class stores them in K successive rows.
        old = {n: x[: len(x) // len(speeds)] if x.ndim else x for n, x in old.items()}
    if not old:
        reason = "it was packed without them"
    elif not reason and _shapes(old) != _shapes(new):
        reason = "its loss is another one"
    if reason:
        logging.info(
            f"Kept the network of {args.init_sv_source}, but not its classes"
            f" ({reason}): the class layer starts anew with {args.spk_num} classes"
        )
        old = new
    elif drop_speeds:
        logging.info(
            f"Kept the {args.spk_num} class centres of the original speed, dropped"
            f" {files.settings['spk_num'] - args.spk_num}"
        )
    network = {n: x for n, x in state.items() if not n.startswith(_LOSS_PREFIX)}
    return network | old


def _of_loss(state: State) -> State:
    return {n: x for n, x in state.items() if n.startswith(_LOSS_PREFIX)}


def _shapes(state: State) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _other_classes(
    files: ModelFiles, args: argparse.Namespace, drop_speeds: bool
) -> str:
    """Say how the classes of this training differ from the trained model's.

    Args:
        files: The trained model.
        args: Training arguments of this run.
        drop_speeds: Whether to compare with the classes of the original speed only.

    Returns:
        The difference; "" if they are the same. Without spk2id beside the trained
        model, only their number is compared.
    """
    old, new = files.settings.get("spk_num"), args.spk_num
    if old is not None and old != new and not drop_speeds:
        return f"it has {old:,}, this training {new:,}"
    labels = files.config.with_name(LABELS_FILE)
    if not (labels.exists() and args.spk2utt):
        return ""
    classes = SpeakerLabels.from_spk2utt(args.spk2utt)
    if not drop_speeds:
        classes = Speeds(args.speed_perturb_factors).classes(classes)
    trained = SpeakerLabels.load(labels).speakers[: new if drop_speeds else None]
    if trained == classes.speakers:
        return ""
    only = sorted(set(trained) ^ set(classes.speakers))
    return (
        f"they differ in {len(only):,} speakers, e.g. {only[0]}"
        if only
        else "they are in another order"
    )
