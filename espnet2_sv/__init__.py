"""Speaker verification from ASR-pretrained ESPnet Conformers.

Public names are imported on first use, so that ``import espnet2_sv`` costs nothing.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "Speech2Embedding": "espnet2_sv.inference.speech2embedding",
    "Speech2TextEmbedding": "espnet2_sv.inference.speech2text_embedding",
    "SpeakerVerifier": "espnet2_sv.inference.verifier",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return [*globals(), *_PUBLIC]
