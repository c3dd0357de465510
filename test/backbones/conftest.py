"""Small ASR models."""

from asr_models import (  # noqa: F401
    own_cache,
    published_conf,
    small_conformer,
    speech,
    train_asr,
)
