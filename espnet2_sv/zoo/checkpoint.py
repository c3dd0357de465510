"""Reading weights and configurations, which are untrusted, and loading weights."""

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from espnet2_sv.errors import SVError

if TYPE_CHECKING:
    import torch

# Keys under which DeepSpeed, Lightning and ESPnet's checkpoint.pth keep the weights
_WRAPPERS = ("module", "state_dict", "model")


def load_state_dict(path: str | os.PathLike) -> "dict[str, torch.Tensor]":
    """Load weights; only tensors and plain data are ever unpickled.

    Args:
        path: A ``.pth`` file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        SVError: The file is missing, damaged, or holds anything else.
    """
    import torch  # here, because finding a model's files needs no torch

    try:
        with warnings.catch_warnings():  # an unusual file is refused, not warned about
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise SVError(f"{path}: no such weights file") from e
    except pickle.UnpicklingError as e:
        raise SVError(
            f"{path}: refused, it is damaged or holds objects other than tensors and"
            " plain data"
        ) from e
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as e:
        raise SVError(
            f"{path}: not a readable weights file; fetch or copy it again"
        ) from e
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not _only_tensors(state):
        raise SVError(
            f"{path}: holds no tensors by name, so it is not a model's weights"
        )
    return dict(state)


def _only_tensors(state: dict) -> bool:
    import torch

    return all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    )


def load_strictly(
    model: "torch.nn.Module",
    state: "dict[str, torch.Tensor]",
    where: str | os.PathLike = "",
    unused: Callable[[str], bool] = lambda name: False,
) -> None:
    """Load weights of which every tensor must be there, be used and fit.

    Args:
        model: The network.
        state: Tensors by name.
        where: The file of the weights, for messages.
        unused: Whether a tensor that the network lacks may be left out.

    Raises:
        SVError: One line that names the tensors that differ.
    """
    own = model.state_dict()
    problems = [
        f"{name} has shape {tuple(x.shape)}, expected {tuple(own[name].shape)}"
        for name, x in state.items()
        if name in own and x.shape != own[name].shape
    ]
    if not problems:
        try:  # names are compared by torch, as ESPnet's modules rename older ones
            found = model.load_state_dict(state, strict=False)
        except SVError:  # of a module that checks more
            raise
        except RuntimeError as e:
            problems = [" ".join(str(e).split())[:200]]
        else:
            problems = [f"missing {name}" for name in found.missing_keys]
            problems += [
                f"unexpected {name}"
                for name in found.unexpected_keys
                if not unused(name)
            ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise SVError(
            f"{where}{': ' if where else ''}the weights do not fit the model:"
            f" {'; '.join(problems[:3])}{more}"
        )


def load_config(path: str | os.PathLike) -> dict[str, Any]:
    """Load a training configuration with the safe YAML loader.

    Raises:
        SVError: The file is missing, not YAML, or not a mapping.
    """
    try:
        conf = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        raise SVError(f"{path}: not a YAML file of plain data") from e
    if not isinstance(conf, dict):
        raise SVError(f"{path}: holds no settings")
    return conf
