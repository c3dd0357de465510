"""Small helpers around torch's distributed data parallelism."""

from typing import TYPE_CHECKING, cast

import torch
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from espnet2_sv.models.speaker_model import SpeakerModel


def unwrap(model: torch.nn.Module) -> "SpeakerModel":
    """Return the model inside a (Distributed)DataParallel wrapper, or the model itself."""
    return cast("SpeakerModel", getattr(model, "module", model))


def trainable(model: torch.nn.Module) -> frozenset[int]:
    """Identify the parameters that receive gradients now."""
    return frozenset(id(p) for p in model.parameters() if p.requires_grad)


def rewrap(model: DistributedDataParallel, options) -> DistributedDataParallel:
    """Wrap the same module anew, so that gradients of unfrozen parameters are synchronised.

    DistributedDataParallel decides at construction which parameters it reduces: one
        that was
    frozen then would silently drift apart between the processes. The outer wrapper's
    hooks stay silent, since its forward is not called.
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


CONVERTED = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


class _SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over processes; its gradient is the sum of theirs."""

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
    """Batch normalisation (N, C) or (N, C, ...) with the statistics of all processes together.

    Processes may hold different numbers of values. In evaluation mode nothing is
    exchanged.
    """

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(
                f"expected (N, C) or (N, C, ...), got {input.dim()} dimensions"
            )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel."""
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
        # around the mean of all, as in one process: the squares' sum alone would cancel
        # badly
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
        weight = 1 / int(count) if self.momentum is None else self.momentum
        running_mean.lerp_(mean, weight)
        self.running_var.lerp_(unbiased_variance, weight)


def synchronise_batchnorm(model: torch.nn.Module, device: str) -> torch.nn.Module:
    """Let a model's batch normalisation see the batch of all processes.

    Parameters and buffers stay the same objects under the same names, so optimizers and
    checkpoints keep fitting.

    Args:
        model: Changed in place, unless it is itself such a layer.
        device: ``"cuda"`` or ``"cpu"``, where it will run.

    Returns:
        The model.
    """
    if device == "cuda":
        return torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, CONVERTED):
        return _reduced(model)
    for name, child in model.named_children():
        setattr(model, name, synchronise_batchnorm(child, device))
    return model


def _reduced(layer: _BatchNorm) -> ReducedBatchNorm:
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
