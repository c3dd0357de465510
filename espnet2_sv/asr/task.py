"""The ESPnet task that trained an ASR model."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AsrTask:
    """An ESPnet task whose models recognise speech.

    Attributes:
        name: Its name in ESPnet's commands and ``meta.yaml``.
        class_name: Its class in ``espnet2.tasks``.
    """

    name: str
    class_name: str

    def task_class(self) -> Any:
        """Return ESPnet's task class."""
        module = importlib.import_module(f"espnet2.tasks.{self.name}")
        return getattr(module, self.class_name)

    def recogniser_class(self) -> Any:
        """Return ESPnet's ``Speech2Text`` of this task."""
        return importlib.import_module(self.recogniser_module).Speech2Text

    @property
    def recogniser_module(self) -> str:
        """The module of :meth:`recogniser_class`."""
        return f"espnet2.bin.{self.name}_inference"

    @property
    def config_key(self) -> str:
        """What ``meta.yaml`` and ``Speech2Text`` call the configuration."""
        return f"{self.name}_train_config"

    @property
    def weights_key(self) -> str:
        """What ``meta.yaml`` and ``Speech2Text`` call the weights."""
        return f"{self.name}_model_file"


ASR = AsrTask("asr", "ASRTask")
S2T = AsrTask("s2t", "S2TTask")  # OWSM: transcription and translation by prompts


def task_of(settings: Mapping[str, Any]) -> AsrTask:
    """Return the task that wrote a configuration.

    Args:
        settings: The configuration.
    """
    return S2T if settings.get("preprocessor") == "s2t" else ASR


def window_seconds(settings: Mapping[str, Any]) -> float | None:
    """Return the length that speech is padded to for recognition; None if it is not.

    ESPnet pads or trims what an OWSM model recognises to 30 s, as in its training.

    Args:
        settings: The configuration.
    """
    if task_of(settings) is not S2T:
        return None
    return float((settings.get("preprocessor_conf") or {}).get("speech_length", 30))
