"""The precision of training on GPUs without bfloat16."""

import contextlib
import functools
import logging

import torch


def autocast_dtype() -> torch.dtype:
    """Return bfloat16 if this GPU has it, otherwise float16.

    PyTorch also runs bfloat16 on GPUs before Ampere, but emulates it in float32.
    """
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16


def native_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Replace emulated bfloat16 by float16 in a forward pass with mixed precision.

    ESPnet's trainer selects bfloat16 wherever PyTorch runs it, and always scales the
    loss, as float16 needs.

    Args:
        device: Device of the input.
    """
    if device.type != "cuda" or not torch.is_autocast_enabled("cuda"):
        return contextlib.nullcontext()
    selected = torch.get_autocast_dtype("cuda")
    if selected != torch.bfloat16 or autocast_dtype() == selected:
        return contextlib.nullcontext()
    _report()
    return torch.autocast("cuda", dtype=torch.float16)


@functools.cache
def _report() -> None:
    logging.info("This GPU emulates bfloat16, so training uses float16 instead")
