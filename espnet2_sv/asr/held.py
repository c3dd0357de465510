"""Holding an ASR model that is used and never changed."""

import contextlib
from collections.abc import Iterator

import torch


class Held(torch.nn.Module):
    """A module that others do not see: it runs in evaluation mode, without a graph.

    It is held outside of the module tree: ``train()``, optimizers, checkpoints and
    DistributedDataParallel do not reach it; it only follows ``to(device)``.

    Args:
        module: What is held; its parameters get no gradients.
    """

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self._held = (module.requires_grad_(False).eval(),)

    @property
    def held(self) -> torch.nn.Module:
        """The module itself."""
        return self._held[0]

    @contextlib.contextmanager
    def unseen(self, device: torch.device) -> Iterator[None]:
        """Compute without a graph; in training on a GPU that can, in bfloat16."""
        half = self.training and device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            yield

    def _apply(self, fn, recurse: bool = True):
        self.held._apply(fn, recurse)
        return super()._apply(fn, recurse)
