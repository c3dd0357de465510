"""Attentive statistics pooling that ignores padding."""

import torch

# Minimum variance; keeps the gradient of the square root finite for constant channels
VARIANCE_FLOOR = 1.0e-5


def valid_mask(
    lengths: torch.Tensor, max_length: int, device: torch.device | None = None
) -> torch.Tensor:
    """Return a mask (B, max_length) that is True for the valid frames (B,).

    It is built on the given device, by default that of the lengths.
    """
    if device is not None:
        lengths = lengths.to(device, non_blocking=True)
    return torch.arange(max_length, device=lengths.device)[None, :] < lengths[:, None]


def may_be_padded(x: torch.Tensor, lengths: torch.Tensor) -> bool:
    """Whether frames (B, T, ...) need a mask, given the valid ones (B,).

    Training crops have no padding. An exported graph is one for all lengths, so it
    always has the mask.
    """
    return torch.onnx.is_in_onnx_export() or int(lengths.min()) < x.size(1)


def weighted_mean_std(
    x: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean and standard deviation over time.

    Args:
        x: Frames (B, T, C).
        weights: Non-negative weights (B, T, 1) or (B, T, C) that sum to one over T.

    Returns:
        Mean and standard deviation, each (B, C).
    """
    if torch.onnx.is_in_onnx_export():  # a graph has no hand-written gradients
        mean = (weights * x).sum(dim=1)
        variance = (weights * (x - mean[:, None]).square()).sum(dim=1)
    else:
        mean, variance = _WeightedMoments.apply(x, weights)
    return mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()


class _WeightedMoments(torch.autograd.Function):
    """Weighted mean and variance with hand-written gradients.

    The concatenated block outputs are the largest tensor of a head, so the cost is
    memory traffic. As the weights sum to one, both gradients need only x - mean, while
    autograd would store and reread every intermediate product.
    """

    @staticmethod
    def forward(ctx, x, weights):
        scratch = weights * x
        mean = scratch.sum(dim=1)
        # Not E[x^2] - E[x]^2, which suffers from cancellation in single precision
        torch.sub(x, mean[:, None], out=scratch)
        variance = scratch.square_().mul_(weights).sum(dim=1)
        ctx.save_for_backward(x, weights, mean)
        return mean, variance

    @staticmethod
    def backward(ctx, grad_mean, grad_variance):
        x, weights, mean = ctx.saved_tensors
        grad_mean, grad_variance = grad_mean[:, None], grad_variance[:, None]
        deviation = x - mean[:, None]
        grad_x = grad_weights = None
        if ctx.needs_input_grad[1]:
            grad_weights = (
                (deviation * grad_variance).mul_(deviation).addcmul_(x, grad_mean)
            )
            grad_weights = grad_weights.sum_to_size(weights.shape)
        if ctx.needs_input_grad[0]:
            grad_x = deviation.mul_(2 * grad_variance).add_(grad_mean).mul_(weights)
        return grad_x, grad_weights


def statistics(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Unweighted mean and standard deviation over the valid frames.

    Args:
        x: Frames (B, T, C).
        lengths: Valid frames (B,).

    Returns:
        Mean and standard deviation, concatenated to (B, 2C), in float32.
    """
    lengths = lengths.to(x.device, non_blocking=True)
    weights = valid_mask(lengths, x.size(1))[..., None].float() / lengths[:, None, None]
    return torch.cat(weighted_mean_std(x.float(), weights), dim=-1)


class AttentiveStatisticsPooling(torch.nn.Module):
    """Attention-weighted mean and standard deviation over time.

    The attention has global context: each frame is concatenated with the utterance's
    unweighted mean and standard deviation (ECAPA-TDNN, Desplanques et al. 2020, section
    3.1). Padded frames contribute to no statistics, including those of BatchNorm.

    Args:
        channels: C, channels of the input.
        attention_channels: Hidden channels of the attention.
    """

    def __init__(self, channels: int, attention_channels: int = 128):
        super().__init__()
        # A Linear on (B, T, 3C) is the paper's Conv1d(3C -> hidden, 1).
        self.hidden = torch.nn.Linear(3 * channels, attention_channels)
        self.norm = torch.nn.BatchNorm1d(attention_channels)
        self.score = torch.nn.Linear(attention_channels, channels)
        self.channels = channels

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Pool frames.

        Args:
            x: Frames (B, T, C).
            lengths: Valid frames (B,).

        Returns:
            Mean and standard deviation, concatenated to (B, 2C), in float32.
        """
        mask = None
        if may_be_padded(x, lengths):
            mask = valid_mask(lengths, x.size(1), x.device)
        hidden = self._batch_norm(self._hidden(x, lengths), mask)
        scores = self.score(hidden).float()
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], float("-inf"))
        with torch.autocast(x.device.type, enabled=False):
            mean, std = weighted_mean_std(x.float(), scores.softmax(dim=1))
            return torch.cat([mean, std], dim=-1)

    def _hidden(self, x, lengths):
        with torch.autocast(x.device.type, enabled=False):
            context = statistics(x, lengths)
        # The context is the same for all frames, so its part of the product is computed
        # once per utterance instead of T times.
        frame_weight, context_weight = self.hidden.weight.split(
            [self.channels, 2 * self.channels], dim=1
        )
        per_frame = torch.nn.functional.linear(x, frame_weight)
        per_utterance = torch.nn.functional.linear(
            context, context_weight, self.hidden.bias
        )
        return torch.relu(per_frame + per_utterance[:, None])

    def _batch_norm(self, hidden, mask):
        if self.training and mask is not None:
            frames = self.norm(hidden[mask])
            return torch.zeros_like(hidden, dtype=frames.dtype).masked_scatter(
                mask[..., None], frames
            )
        return self.norm(hidden.transpose(1, 2)).transpose(1, 2)
