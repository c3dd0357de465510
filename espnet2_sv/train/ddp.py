"""Small helpers around torch's distributed data parallelism."""

import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """Return the module inside a (Distributed)DataParallel wrapper, or the module itself."""
    return getattr(model, "module", model)


def trainable(model: torch.nn.Module) -> frozenset[int]:
    """Identify the parameters that receive gradients now."""
    return frozenset(id(p) for p in model.parameters() if p.requires_grad)


def rewrap(model: DistributedDataParallel, options) -> DistributedDataParallel:
    """Wrap the same module anew, so that gradients of unfrozen parameters are synchronised.

    DistributedDataParallel decides at construction which parameters it reduces: one that was
    frozen then would silently drift apart between the processes. The outer wrapper's hooks stay
    silent, since its forward is not called.
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


def gather_dicts(mine: dict, distributed: bool) -> dict:
    """Merge one dictionary per process into the union on every process (gloo and NCCL)."""
    if not distributed:
        return mine
    gathered: list[dict] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, mine)
    return {k: v for part in gathered for k, v in part.items()}
