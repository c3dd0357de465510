"""A tiny speaker model on disk, and real speech."""

from hub_server import hub  # noqa: F401
from speaker_models import an4, home, legacy_exp, new_exp, speaker_exp  # noqa: F401
