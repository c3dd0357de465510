"""The ESPnet task that trained an ASR model."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AsrTask:
    """An ESPnet task whose models recognise speech.

    Attributes:
        name: Its module in ``espnet2.tasks``.
        class_name: Its class in that module.
        command: Its name in ESPnet's commands, recogniser and ``meta.yaml``.
    """

    name: str
    class_name: str
    command: str

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
        return f"espnet2.bin.{self.command}_inference"

    @property
    def config_key(self) -> str:
        """What ``meta.yaml`` and ``Speech2Text`` call the configuration."""
        return f"{self.command}_train_config"

    @property
    def weights_key(self) -> str:
        """What ``meta.yaml`` and ``Speech2Text`` call the weights."""
        return f"{self.command}_model_file"


ASR = AsrTask("asr", "ASRTask", "asr")
S2T = AsrTask("s2t", "S2TTask", "s2t")  # OWSM: transcription and translation by prompts
S2T_CTC = AsrTask("s2t_ctc", "S2TTask", "s2t")  # OWSM-CTC: the encoder reads the prompt


def task_of(settings: Mapping[str, Any]) -> AsrTask:
    """Return the task that wrote a configuration.

    Args:
        settings: The configuration.
    """
    if settings.get("model") == "espnet_ctc":  # by which ESPnet's recogniser decides
        return S2T_CTC
    return S2T if settings.get("preprocessor") == "s2t" else ASR


def window_seconds(settings: Mapping[str, Any]) -> float | None:
    """Return the longest speech that a model is made to recognise; None if any.

    It is 30 s for OWSM. ESPnet pads or trims speech to it for a model with a decoder.

    Args:
        settings: The configuration.
    """
    if task_of(settings) is ASR:
        return None
    return float((settings.get("preprocessor_conf") or {}).get("speech_length", 30))
