"""Attentive statistics pooling that respects lengths."""

import torch

# Floor of a variance before its square root: keeps the gradient of a constant channel
# finite.
VARIANCE_FLOOR = 1.0e-5


def valid_mask(lengths: torch.Tensor, max_length: int) -> torch.Tensor:
    """Return a boolean mask (B, max_length) that is True on valid frames."""
    return torch.arange(max_length, device=lengths.device)[None, :] < lengths[:, None]


def weighted_mean_std(
    x: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over time, each (B, C), of x (B, T, C).

    Args:
        x: Frames (B, T, C).
        weights: Non-negative weights that sum to one over T, (B, T, 1) or (B, T, C).
    """
    mean, variance = _WeightedMoments.apply(x, weights)
    return mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()


class _WeightedMoments(torch.autograd.Function):
    """Weighted mean and variance with the gradients written out.

    The frames of all blocks side by side are the widest tensor of a head, so what costs
    is the number of passes over it: with the weights summing to one, both gradients
        need only x - mean,
    where autograd would keep and revisit every intermediate product.
    """

    @staticmethod
    def forward(ctx, x, weights):
        scratch = weights * x
        mean = scratch.sum(dim=1)
        # Around the mean, not E[x^2] - E[x]^2, which cancels badly in single precision.
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
    """Mean and standard deviation of the valid frames, (B, 2C), of x (B, T, C)."""
    weights = valid_mask(lengths, x.size(1))[..., None].float() / lengths[:, None, None]
    return torch.cat(weighted_mean_std(x.float(), weights), dim=-1)


class AttentiveStatisticsPooling(torch.nn.Module):
    """Pool frames into their attention-weighted mean and standard deviation.

    The attention sees global context: the utterance's unweighted mean and standard
        deviation
    beside each frame (ECAPA-TDNN, Desplanques et al. 2020, section 3.1). Padded frames
    have no part in any statistic, batch normalisation's included.

    Args:
        channels: C, channels of the input.
        attention_channels: Channels of the attention's hidden layer.
    """

    def __init__(self, channels: int, attention_channels: int = 128):
        super().__init__()
        # A Linear on (B, T, 3C) is the Conv1d(3C -> hidden, 1) of the literature.
        self.hidden = torch.nn.Linear(3 * channels, attention_channels)
        self.norm = torch.nn.BatchNorm1d(attention_channels)
        self.score = torch.nn.Linear(attention_channels, channels)
        self.channels = channels

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Pool x (B, T, C) with valid lengths (B,) into (B, 2C), float32."""
        # Training crops have no padding; then nothing is masked.
        whole = int(lengths.min()) == x.size(1)
        mask = None if whole else valid_mask(lengths, x.size(1))
        hidden = self._normalised(self._hidden(x, lengths), mask)
        scores = self.score(hidden).float()
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], float("-inf"))
        with torch.autocast(x.device.type, enabled=False):
            mean, std = weighted_mean_std(x.float(), scores.softmax(dim=1))
            return torch.cat([mean, std], dim=-1)

    def _hidden(self, x, lengths):
        with torch.autocast(x.device.type, enabled=False):
            context = statistics(x, lengths)
        # The context is the same for all frames: its part of the product is computed
        # once per utterance instead of repeating it T times.
        frame_weight, context_weight = self.hidden.weight.split(
            [self.channels, 2 * self.channels], dim=1
        )
        per_frame = torch.nn.functional.linear(x, frame_weight)
        per_utterance = torch.nn.functional.linear(
            context, context_weight, self.hidden.bias
        )
        return torch.relu(per_frame + per_utterance[:, None])

    def _normalised(self, hidden, mask):
        if self.training and mask is not None:
            frames = self.norm(hidden[mask])
            return torch.zeros_like(hidden, dtype=frames.dtype).masked_scatter(
                mask[..., None], frames
            )
        return self.norm(hidden.transpose(1, 2)).transpose(1, 2)
