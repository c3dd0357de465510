"""Count the floating-point operations of a training step."""

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def flop_counter() -> FlopCounterMode:
    """Count floating-point operations, two per multiply-accumulate.

    PyTorch's own count of the gradient of a convolution's weights ignores groups, so
    that a depthwise convolution of 512 channels would count 512 times.
    """
    gradients = {torch.ops.aten.convolution_backward: _convolution_backward}
    return FlopCounterMode(display=False, custom_mapping=gradients)


def _convolution_backward(
    of_outputs, inputs, weight, bias, stride, padding, dilation, transposed, *rest, **_
) -> int:
    _, _, needed = rest[:3]  # gradients of inputs, weight and bias
    each = conv_flop_count(inputs, weight, of_outputs, transposed=transposed)
    return each * sum(needed[:2])
