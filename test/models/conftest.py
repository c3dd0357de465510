"""Tiny speaker models on disk, and real speech."""

from speaker_models import an4, home, legacy_exp, new_exp, speaker_exp  # noqa: F401
from training import asr_exp, small_network, training_command  # noqa: F401
