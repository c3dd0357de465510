"""Optimizer parameter groups with a lower learning rate for the pretrained encoder."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from espnet2_sv.models.speaker_model import SpeakerModel

# Parameters with at most one dimension (biases, normalisation scales) may be excluded
# from weight decay.
NO_DECAY_DIM = 1


def parameter_groups(
    model: "SpeakerModel",
    lr: float,
    encoder_lr_factor: float = 1.0,
    layer_decay: float = 1.0,
    exclude_weight_decay: bool = False,
) -> list[dict]:
    """Group the trainable parameters of a speaker model by learning rate.

    Head and loss have the learning rate ``lr``. The parameters of depth i in a backbone
    with L blocks have ``lr * encoder_lr_factor * layer_decay ** (L - i)``, where depths
    1 to L are the blocks and depth 0 is the subsampling.

    Args:
        model: The speaker model.
        lr: Learning rate of head and loss.
        encoder_lr_factor: Learning rate of the last block relative to ``lr``.
        layer_decay: Learning rate of a block relative to that of the block above.
        exclude_weight_decay: Exclude biases and normalisation scales from weight decay.

    Returns:
        Parameter groups for a PyTorch optimizer, each with ``params`` and ``lr``.
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
