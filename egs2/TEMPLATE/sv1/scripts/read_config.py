#!/usr/bin/env python3
"""Reads YAML and JSON files for shell scripts; imports nothing that is slow to start.

    read_config.py get FILE KEY                      the value of a key, or of KEY.KEY
    read_config.py without FILE KEY...               all other keys, as YAML
    read_config.py augmentation_lists CONFIG         files named by augment_conf
    read_config.py unlisted_noises CONFIG            noises without a list
    read_config.py training_settings CONFIG WORD...  what determines a trained model

``get`` prints nothing for a missing key or a null. ``training_settings`` prints one
setting per line, e.g. ``loss_conf.margin: 0.2``, then the words; settings that may
change when a training is resumed (RESUMABLE) are left out of both.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# Changing any other setting when a training is resumed would mix two models
RESUMABLE = (
    "max_epoch",
    "patience",
    "keep_nbest_models",
    "num_workers",
    "log_interval",
    "ngpu",
)
# e.g. "--max_epoch 10" or "--max_epoch=10"
RESUMABLE_OPTION = re.compile(rf"--({'|'.join(RESUMABLE)})[ =]\S*")


def load(path: str) -> dict[str, Any]:
    """Read a mapping from a JSON file (``.json``) or a YAML file."""
    text = Path(path).read_text(encoding="utf-8")
    content = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    if not isinstance(content, dict):
        raise ValueError("does not hold a mapping from keys to values")
    return content


def get(path: str, key: str) -> Iterator[str]:
    """The value of a key, e.g. ``summary.task``, as JSON unless it is a string."""
    value: Any = load(path)
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def without(path: str, *keys: str) -> Iterator[str]:
    """The YAML of a file without some keys, e.g. ``beam_size: 3``."""
    kept = {key: value for key, value in load(path).items() if key not in keys}
    yield from yaml.safe_dump(kept, sort_keys=False).splitlines()


def augmentation_lists(path: str) -> Iterator[str]:
    """The ``scp`` files of augment_conf: ``{noise: [{scp: F}], rir: {scp: F}}``."""
    conf = load(path).get("augment_conf") or {}
    for entries in conf.values():
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict) and entry.get("scp"):
                yield entry["scp"]


def unlisted_noises(path: str) -> Iterator[str]:
    """The noises of augment_conf that name no ``scp``, as JSON."""
    for entry in (load(path).get("augment_conf") or {}).get("noise") or []:
        if isinstance(entry, dict) and not entry.get("scp"):
            yield json.dumps(entry)


def training_settings(path: str, *words: str) -> Iterator[str]:
    """The settings that determine a trained model, then the words."""
    config = {k: v for k, v in load(path).items() if k not in RESUMABLE}
    yield from flatten(config)
    for word in words:
        yield RESUMABLE_OPTION.sub("", word).rstrip()


def flatten(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Turn nested mappings into lines, e.g. ``loss_conf.margin: 0.2``."""
    for key, value in sorted(settings.items()):
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {json.dumps(value, default=str)}"


FUNCTIONS = (get, without, augmentation_lists, unlisted_noises, training_settings)
COMMANDS = {f.__name__: f for f in FUNCTIONS}


def main(args: list[str]) -> None:
    """Run the command that is named first; exits with one line if FILE is unusable."""
    if len(args) < 2 or args[0] not in COMMANDS:
        sys.exit(__doc__)
    try:
        for line in COMMANDS[args[0]](*args[1:]):
            print(line)
    except (OSError, ValueError, yaml.YAMLError) as e:
        reason = " ".join(str(e).split())
        sys.exit(f"read_config.py: error: {args[1]}: {reason}")


if __name__ == "__main__":
    main(sys.argv[1:])
