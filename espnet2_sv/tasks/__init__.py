"""ESPnet task classes, one per value of ``sv_task`` in a training config."""

import importlib

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.source import SV_TASKS

_CLASSES = {
    "scratch": ("espnet2_sv.tasks.sv", "SVTask"),
    "transfer": ("espnet2_sv.tasks.transfer", "SVTransferTask"),
    "adaptor": ("espnet2_sv.tasks.adaptor", "SVAdaptorTask"),
    "distill": ("espnet2_sv.tasks.distill", "SVDistillTask"),
}


def get_task(name: str):
    """Return the task class of an ``sv_task`` value such as ``"transfer"``.

    Raises:
        SVError: The name is unknown.
    """
    if name not in SV_TASKS:
        raise SVError(f"unknown sv_task {name!r}; choose from {', '.join(SV_TASKS)}")
    module, attribute = _CLASSES[name]
    return getattr(importlib.import_module(module), attribute)
