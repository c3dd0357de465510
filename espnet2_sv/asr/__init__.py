"""Pretrained ASR models: check, rebuild, copy weights, recognise.

Public names are imported on first use, so that a command's ``--help`` need not load
torch.
"""

import importlib

_PUBLIC = {
    "AsrBundle": "espnet2_sv.asr.bundle",
    "load_asr_bundle": "espnet2_sv.asr.bundle",
    "resolve_asr": "espnet2_sv.asr.resolve",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return [*globals(), *_PUBLIC]
