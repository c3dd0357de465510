"""Helpers for PyTorch's distributed data parallelism."""

from typing import TYPE_CHECKING, cast

import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

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


BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; gradients are summed as well."""

    @staticmethod
    def forward(ctx, tensor):
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        torch.distributed.all_reduce(gradient)
        return gradient


class ReducedBatchNorm(_BatchNorm):
    """BatchNorm with statistics over the batches of all processes, on any backend.

    Processes may have different numbers of values. In eval mode, they do not
    communicate.
    """

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(
                f"expected (N, C) or (N, C, ...), got {input.dim()} dimensions"
            )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise the channels of an input (N, C) or (N, C, ...).

        Raises:
            ValueError: The input has fewer than two dimensions.
        """
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        others = [d for d in range(input.dim()) if d != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input.float()
        count = x.new_tensor([x.numel() // x.size(1)])
        sums = _SumOverProcesses.apply(torch.cat([x.sum(others), count]))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        centred = x - mean.view(shape)
        # Not E[x^2] - E[x]^2, which suffers from cancellation
        variance = _SumOverProcesses.apply(centred.square().sum(others)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    def _track(self, mean: torch.Tensor, unbiased_variance: torch.Tensor) -> None:
        count, running_mean = self.num_batches_tracked, self.running_mean
        if count is None or running_mean is None or self.running_var is None:
            return  # track_running_stats is off
        count.add_(1)
        momentum = self.momentum
        if momentum is None:  # cumulative average
            momentum = 1 / int(count)
        running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased_variance, momentum)


def synchronise_batchnorm(model: torch.nn.Module, device: str) -> torch.nn.Module:
    """Convert BatchNorm layers to compute statistics over all processes.

    Parameters and buffers remain the same objects with the same names, so optimizers
    and checkpoints stay valid.

    Args:
        model: Changed in place, unless it is a BatchNorm layer itself.
        device: ``"cuda"`` or ``"cpu"``, the device that the model will run on.

    Returns:
        The model.
    """
    if device == "cuda":
        return torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, BATCH_NORMS):
        return _to_reduced(model)
    for name, child in model.named_children():
        setattr(model, name, synchronise_batchnorm(child, device))
    return model


def _to_reduced(layer: _BatchNorm) -> ReducedBatchNorm:
    new = ReducedBatchNorm(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
    )
    for name, parameter in layer.named_parameters():
        setattr(new, name, parameter)
    for name, buffer in layer.named_buffers():
        setattr(new, name, buffer)
    return new.train(layer.training)
