"""ESPnet task classes; ``sv_task`` in a training config names the one that trained its model."""

import importlib

from espnet2_sv.errors import SVError

_TASKS = {
    "scratch": ("espnet2_sv.tasks.sv", "SVTask"),
    "transfer": ("espnet2_sv.tasks.transfer", "SVTransferTask"),
    "adaptor": ("espnet2_sv.tasks.adaptor", "SVAdaptorTask"),
    "distill": ("espnet2_sv.tasks.distill", "SVDistillTask"),
}


def get_task(name: str):
    """Return the task class of a ``sv_task`` value such as ``"transfer"``."""
    check_task_name(name)
    module, attribute = _TASKS[name]
    return getattr(importlib.import_module(module), attribute)


def check_task_name(name: str) -> None:
    """Refuse an unknown ``sv_task``, without importing any task."""
    if name not in _TASKS:
        raise SVError(f"sv_task {name!r} is unknown; known are {', '.join(_TASKS)}")
