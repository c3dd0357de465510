"""Batch normalisation over the batches of all processes."""

import torch
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


def sum_type(x: torch.Tensor) -> torch.dtype:
    """Return the data type of statistics: float32, or float64 for such input."""
    return torch.promote_types(x.dtype, torch.float32)


class _NormaliseOverProcesses(torch.autograd.Function):
    """Batch normalisation with one collective forward and one backward.

    Nothing is read from the device, so the CPU never waits for a GPU, unlike in
    torch.nn.SyncBatchNorm, which does so three times in each forward pass.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        """Return the normalised x, and mean, biased variance and count of all."""
        others = [d for d in range(x.dim()) if d != 1]
        channels, size = x.size(1), x.numel() // x.size(1)
        rank = torch.distributed.get_rank()
        parts = torch.zeros(
            (torch.distributed.get_world_size(), 2 * channels + 1),
            dtype=sum_type(x),
            device=x.device,
        )
        if size:
            variance, mean = torch.var_mean(x.to(parts.dtype), others, correction=0)
            parts[rank, :channels], parts[rank, channels:-1] = mean, variance
            parts[rank, -1].fill_(size)
        # Each process fills its own row
        torch.distributed.all_reduce(parts)
        means, variances = parts[:, :channels], parts[:, channels:-1]
        count = parts[:, -1].sum()
        shares = parts[:, -1:] / count
        mean = (shares * means).sum(0)
        # Chan, Golub & LeVeque (1979). Not E[x^2] - E[x]^2, which suffers from
        # cancellation
        variance = (shares * (variances + (means - mean).square())).sum(0)
        y = torch.nn.functional.batch_norm(x, mean, variance, weight, bias, eps=eps)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        others = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        centred = x - mean.view(shape)
        # Also the gradients of bias and weight, which DistributedDataParallel averages
        of_bias = gradient.sum(others, dtype=mean.dtype)
        of_weight = (gradient * centred).sum(others) * inverse_std
        of_x = None
        if ctx.needs_input_grad[0]:
            sums = torch.stack([of_bias, of_weight])
            torch.distributed.all_reduce(sums)
            average, slope = sums / count
            scale = inverse_std if weight is None else inverse_std * weight
            # scale * (gradient - average - slope * normalised), in few passes
            constant, factor = -scale * average, -scale * slope * inverse_std
            of_x = torch.addcmul(constant.view(shape), centred, factor.view(shape))
            of_x = torch.addcmul(of_x, gradient, scale.view(shape)).to(x.dtype)
        if weight is None:
            return of_x, None, None, None
        return of_x, of_weight, of_bias, None


class ReducedBatchNorm(_BatchNorm):
    """BatchNorm with statistics over the batches of all processes, on any backend.

    Processes may have different numbers of values, or none. In eval mode, or without a
    process group, they do not communicate.
    """

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(
                f"expected (N, C) or (N, C, ...), got {input.dim()} dimensions"
            )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise the channels of an input (N, C) or (N, C, ...).

        Returns:
            The same shape and data type.

        Raises:
            ValueError: The input has fewer than two dimensions.
        """
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(input)
        self._check_input_dim(input)
        parameters = [
            None if p is None else p.to(sum_type(input))
            for p in (self.weight, self.bias)
        ]
        y, mean, variance, count = _NormaliseOverProcesses.apply(
            input, *parameters, self.eps
        )
        self._track(mean, variance * count / (count - 1))
        return y

    @torch.no_grad()
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


def synchronise_batchnorm(
    model: torch.nn.Module, torchs_own: bool = False
) -> torch.nn.Module:
    """Convert BatchNorm layers to compute statistics over all processes.

    Parameters and buffers remain the same objects with the same names, so optimizers
    and checkpoints stay valid.

    Args:
        model: Changed in place, unless it is a BatchNorm layer itself.
        torchs_own: Use torch.nn.SyncBatchNorm, which needs GPUs.

    Returns:
        The model.
    """
    if torchs_own:
        return torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, BATCH_NORMS):
        return _to_reduced(model)
    for name, child in model.named_children():
        setattr(model, name, synchronise_batchnorm(child))
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
