"""ASR models of the kinds that are published."""

from asr_models import (  # noqa: F401
    own_cache,
    published_conf,
    small_conformer,
    speech,
    train_asr,
)
from speaker_models import speaker_exp  # noqa: F401
