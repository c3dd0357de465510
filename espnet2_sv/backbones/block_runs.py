"""How training runs the blocks of an encoder: with fewer kernels, or less memory.

The CPU launches the kernels of a GPU one by one, and a small network computes faster
than that. A third of its kernels are autocast's, which casts each weight by one and
each gradient by another; others multiply by one, or mask frames that are all valid.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from espnet2.legacy.nets.pytorch_backend.conformer.convolution import ConvolutionModule
from espnet2.legacy.nets.pytorch_backend.conformer.encoder_layer import EncoderLayer
from espnet2.legacy.nets.pytorch_backend.conformer.swish import Swish
from espnet2.legacy.nets.pytorch_backend.transformer.attention import (
    MultiHeadedAttention,
)

# Layers all of whose weights autocast casts
CAST_LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
_SILU = torch.nn.SiLU()  # Swish in one kernel instead of two, and five for gradients
# Frames (B, T, D), or a tuple of them and positions (1, T', D)
Inputs = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


class BlockRun(torch.nn.Module):
    """Runs a block of an ESPnet encoder in its place.

    In mixed precision, outputs and gradients are those of the block but for rounding;
    otherwise they are the same. The block is not registered as a submodule, so that the
    names of its parameters stay as they are.

    Args:
        block: The block, called with frames or (frames, positions), and a mask.
    """

    def __init__(self, block: torch.nn.Module):
        super().__init__()
        self._block = (block,)
        self.layers = [m for m in block.modules() if type(m) in CAST_LAYERS]
        self.activations = [
            (module._modules, name)
            for module in block.modules()
            for name, child in module.named_children()
            if type(child) is Swish
        ]
        self.attentions = [
            module
            for module in block.modules()
            if isinstance(module, MultiHeadedAttention)
        ]
        # flash-attn reads lengths from the mask
        self.needs_mask = any(
            getattr(module, "use_flash_attn", False) for module in block.modules()
        )
        self.mask_unused = False
        self.checkpointed = False

    @property
    def block(self) -> torch.nn.Module:
        """The block."""
        return self._block[0]

    def forward(
        self, inputs: Inputs, mask: torch.Tensor, **options
    ) -> tuple[Inputs, Any]:
        """Run the block.

        Args:
            inputs: Frames (B, T, D), or a tuple of them and positions (1, T', D).
            mask: Valid frames (B, 1, T), for the block if it needs them.
            options: Further arguments of the block.

        Returns:
            What the block returns: the same with new frames, and the mask.
        """
        known = None if self.mask_unused else mask
        if self.checkpointed and torch.is_grad_enabled():
            outputs = checkpoint(
                self.run,
                inputs,
                known,
                use_reentrant=False,
                context_fn=self._contexts,
                **options,
            )
        else:
            outputs = self.run(inputs, known, **options)
        return outputs, mask

    def run(self, inputs: Inputs, mask: torch.Tensor | None, **options) -> Inputs:
        """Run the block, in mixed precision with fewer kernels."""
        try:
            return self._run(inputs, mask, **options)
        finally:
            for attention in self.attentions:
                # ESPnet's keep their last weights, and with them all that these were
                # computed from: what a checkpoint computes again would stay in memory
                attention.attn = None

    def _run(self, inputs: Inputs, mask: torch.Tensor | None, **options) -> Inputs:
        frames = inputs[0] if isinstance(inputs, tuple) else inputs
        device = frames.device.type
        if not torch.is_autocast_enabled(device):
            return self.block(inputs, mask, **options)[0]
        dtype = torch.get_autocast_dtype(device)
        if isinstance(inputs, tuple):  # cast once instead of in every block
            inputs = frames, inputs[1].to(dtype)
        with self._prepared(dtype):
            return self._compute(inputs, mask, dtype, **options)

    def _compute(self, inputs: Inputs, mask, dtype: torch.dtype, **options) -> Inputs:
        return self.block(inputs, mask, **options)[0]

    @contextlib.contextmanager
    def _prepared(self, dtype: torch.dtype) -> Iterator[None]:
        """Let the block have weights that are cast together, while open."""
        places: list[tuple[dict, str, Any]] = [
            (layer._parameters, name, weight)
            for layer in self.layers
            for name, weight in layer._parameters.items()
            if weight is not None and weight.dtype == torch.float32
        ]
        prepared: list[Any] = cast_together([weight for _, _, weight in places], dtype)
        for modules, name in self.activations:
            places.append((modules, name, modules[name]))
            prepared.append(_SILU)
        try:
            for (container, name, _), value in zip(places, prepared, strict=True):
                container[name] = value
            yield
        finally:
            for container, name, own in places:
                container[name] = own

    def _contexts(self):
        return contextlib.nullcontext(), unchanged_statistics(self.block)


class ConformerRun(BlockRun):
    """Runs a Conformer block without multiplications by one.

    ESPnet scales each residual branch, for stochastic depth. The input of the three
    projections of the attention layer is cast once.
    """

    @staticmethod
    def suits(block: Any) -> bool:
        """Whether this class computes what the block does."""
        return (
            type(block) is EncoderLayer
            and block.normalize_before
            and not block.concat_after
            and not block.stochastic_depth_rate
            and type(block.conv_module) in (ConvolutionModule, type(None))
        )

    def _compute(self, inputs: Inputs, mask, dtype: torch.dtype, **options) -> Inputs:
        block: Any = self.block
        x, *positions = inputs if isinstance(inputs, tuple) else (inputs,)
        if block.feed_forward_macaron is not None:
            y = block.dropout(block.feed_forward_macaron(block.norm_ff_macaron(x)))
            x = torch.add(x, y, alpha=block.ff_scale)
        y = block.norm_mha(x).to(dtype)
        x = x + block.dropout(block.self_attn(y, y, y, *positions, mask))
        if block.conv_module is not None:
            x = x + block.dropout(block.conv_module(block.norm_conv(x), mask_pad=mask))
        y = block.dropout(block.feed_forward(block.norm_ff(x)))
        x = torch.add(x, y, alpha=block.ff_scale)
        if block.conv_module is not None:
            x = block.norm_final(x)
        return (x, positions[0]) if positions else x


def block_run(block: torch.nn.Module) -> BlockRun:
    """Return what runs a block of an ESPnet encoder."""
    return ConformerRun(block) if ConformerRun.suits(block) else BlockRun(block)


@contextlib.contextmanager
def unchanged_statistics(module: torch.nn.Module) -> Iterator[None]:
    """Keep the running statistics of BatchNorm layers as they are, while open.

    A batch that is computed again must not count twice.
    """
    before = []
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and norm.track_running_stats:
            before.append((norm, norm.momentum, norm.num_batches_tracked))
            norm.momentum = 0.0
            norm.num_batches_tracked = torch.tensor(0)  # another counter
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count


def cast_together(
    tensors: list[torch.Tensor], dtype: torch.dtype
) -> list[torch.Tensor]:
    """Cast float32 tensors by one kernel, and their gradients back by another.

    Args:
        tensors: Tensors of any shapes.
        dtype: Data type of the results.
    """
    return list(_CastTogether.apply(*tensors, dtype)) if tensors else []


class _CastTogether(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *arguments):
        *tensors, dtype = arguments
        ctx.set_materialize_grads(False)
        cast = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
        torch._foreach_copy_(cast, tensors)
        return tuple(cast)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        known = [gradient for gradient in gradients if gradient is not None]
        cast = [torch.empty_like(gradient, dtype=torch.float32) for gradient in known]
        torch._foreach_copy_(cast, known)
        rest = iter(cast)
        return *(None if g is None else next(rest) for g in gradients), None
