"""Optimizer parameter groups: the pretrained encoder learns more slowly than the new head."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from espnet2_sv.models.speaker_model import SpeakerModel

# Parameters of one dimension (biases, norm scales) are not shrunk towards zero when
# asked so.
NO_DECAY_DIM = 1


def parameter_groups(
    model: "SpeakerModel",
    lr: float,
    encoder_lr_factor: float = 1.0,
    layer_decay: float = 1.0,
    exclude_weight_decay: bool = False,
) -> list[dict]:
    """Group a speaker model's parameters by learning rate and weight decay.

    The head and the loss get ``lr``; block i of L (from 1) gets
    ``lr * encoder_lr_factor * layer_decay ** (L - i)`` and the subsampling before block
    1 one power more. Parameters that never receive gradients are left out.

    Args:
        model: Its backbone tells the depths of its parameters.
        lr: The optimizer's learning rate.
        encoder_lr_factor: Learning rate of the last block relative to the head's.
        layer_decay: Factor from a block to the one below it.
        exclude_weight_decay: Give biases and normalisation scales no weight decay.

    Returns:
        Parameter groups for a torch optimizer, each with ``params`` and ``lr``.
    """
    backbone = {id(p) for p in model.backbone.parameters()}
    groups: list[tuple[float, list[torch.nn.Parameter]]] = [
        (lr, [p for p in model.parameters() if id(p) not in backbone])
    ]
    for depth, parameters in model.backbone.parameter_groups():
        factor = encoder_lr_factor * layer_decay ** (model.backbone.num_blocks - depth)
        groups.append((lr * factor, parameters))

    merged: dict[tuple, list] = {}
    for group_lr, parameters in groups:
        for p in parameters:
            if p.requires_grad:
                no_decay = exclude_weight_decay and p.dim() <= NO_DECAY_DIM
                merged.setdefault((group_lr, no_decay), []).append(p)
    return [
        {
            "params": params,
            "lr": group_lr,
            **({"weight_decay": 0.0} if no_decay else {}),
        }
        for (group_lr, no_decay), params in merged.items()
    ]
