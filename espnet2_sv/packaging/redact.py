"""Removing information about the training machine from training settings."""

from pathlib import PurePosixPath
from typing import Any

# Settings that name hosts and accounts, e.g. dist_master_addr, wandb_entity.
PRIVATE_PREFIXES = ("dist_", "wandb_")


def redact_settings(value: Any) -> Any:
    """Return training settings without information about the training machine.

    Paths outside the recipe (absolute, ``~/x``, ``../x``, ``file:///x``) are reduced to
    their last component; names of hosts and accounts become null. The model needs
    neither.
    """
    if isinstance(value, dict):
        return {key: _redact_setting(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_settings(item) for item in value]
    if isinstance(value, str) and _is_outside(value):
        return PurePosixPath(value).name
    return value


def _redact_setting(key: str, value: Any) -> Any:
    if key == "token_list":  # tokens such as "/" are no paths
        return value
    return None if key.startswith(PRIVATE_PREFIXES) else redact_settings(value)


def _is_outside(text: str) -> bool:
    if "/" not in text:
        return False
    return text.startswith(("/", "~", "file:")) or ".." in PurePosixPath(text).parts
