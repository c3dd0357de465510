"""Helpers for PyTorch's distributed data parallelism."""

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

if TYPE_CHECKING:
    from espnet2_sv.models.speaker_model import SpeakerModel


def unwrap(model: torch.nn.Module) -> "SpeakerModel":
    """Return the model inside a (Distributed)DataParallel wrapper, if there is one."""
    return cast("SpeakerModel", getattr(model, "module", model))


def trainable_ids(model: torch.nn.Module) -> frozenset[int]:
    """Return the ids of the parameters that currently require gradients."""
    return frozenset(id(p) for p in model.parameters() if p.requires_grad)


def rewrap(model: DistributedDataParallel, options) -> DistributedDataParallel:
    """Wrap a module again to synchronise gradients of parameters unfrozen since.

    DistributedDataParallel chooses the parameters to reduce at construction. Those that
    were frozen then would silently diverge between processes. The hooks of the old
    wrapper do nothing, because its forward is not called.

    Args:
        model: The old wrapper.
        options: Trainer options.

    Returns:
        A new wrapper of the same module.
    """
    wrapped = DistributedDataParallel(
        model.module,
        device_ids=model.device_ids,
        output_device=model.output_device,
        find_unused_parameters=options.unused_parameters,
        gradient_as_bucket_view=options.gradient_as_bucket_view,
    )
    if options.ddp_comm_hook is not None:  # fp16_compress_hook or bf16_compress_hook
        wrapped.register_comm_hook(None, getattr(default_hooks, options.ddp_comm_hook))
    return wrapped


def gather_dicts(local: dict, distributed: bool) -> dict:
    """Return the union of the dictionaries of all processes, on every process."""
    if not distributed:
        return local
    gathered: list[dict] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, local)
    return {k: v for part in gathered for k, v in part.items()}


def seed_by_rank(
    model: torch.nn.Module, options, distributed_option, epoch: int
) -> None:
    """Let each process draw its own random numbers in an epoch, such as dropout masks.

    ESPnet seeds all processes alike when an epoch starts. The first one keeps those
    numbers, and none depends on earlier epochs, so that resuming is exact.

    Where random numbers decide what processes do together, all have to draw the same:
    which layers are skipped, since a skipped layer takes part in no synchronisation,
    and the noise on gradients, since it is added after they are averaged.

    Args:
        model: The model or its wrapper.
        options: Trainer options.
        distributed_option: ESPnet's, with the rank.
        epoch: Number of the epoch, counted from 1.
    """
    rank = distributed_option.dist_rank
    if not distributed_option.distributed or rank == 0:
        return
    if options.grad_noise or skips_layers(model):
        return
    sequence = np.random.SeedSequence((options.seed, epoch, rank))
    set_all_random_seed(int(sequence.generate_state(1)[0]))


def skips_layers(model: torch.nn.Module) -> bool:
    """Whether an ESPnet encoder of the model skips layers at random in training."""
    rates = ("stochastic_depth_rate", "layer_drop_rate")
    return any(getattr(m, rate, 0) for m in model.modules() for rate in rates)
