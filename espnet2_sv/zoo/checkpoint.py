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

# The vocabulary is by far the largest part of a configuration: 50,002 for OWSM
MAX_SIZE = 1_000_000  # of a layer, a kernel, a hop in samples, a rate in Hz
MAX_CONFIG_ENTRIES = 1_000_000
# Parts of a model whose options have sizes
_SIZED_PARTS = (
    *("frontend", "encoder", "promptencoder", "decoder"),  # of an ASR model
    *("head", "pooling", "projector"),
)
# Keys under which DeepSpeed, Lightning and ESPnet's checkpoint.pth keep the weights
_WRAPPERS = ("module", "state_dict", "model")
MAPPED = 2**28  # bytes of a file from which on it is mapped


def load_state_dict(path: str | os.PathLike) -> "dict[str, torch.Tensor]":
    """Load weights; only tensors and plain data are ever unpickled.

    Args:
        path: A ``.pth`` file.

    Returns:
        Dense tensors by name, on the CPU.

    Raises:
        SVError: The file is missing, damaged, or holds anything else.
    """
    import torch  # here, because finding a model's files needs no torch

    try:
        with warnings.catch_warnings():  # an unusual file is refused, not warned about
            warnings.simplefilter("ignore")
            state = torch.load(
                path, map_location="cpu", weights_only=True, mmap=_is_mapped(path)
            )
    except FileNotFoundError as e:
        raise SVError(f"{path}: no such weights file") from e
    except pickle.UnpicklingError as e:
        raise SVError(
            f"{path}: refused, it is damaged or holds objects other than tensors and"
            " plain data"
        ) from e
    except MemoryError:
        raise
    except (
        Exception
    ) as e:  # torch and pickle raise all kinds of errors on damaged files
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
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise SVError(
                f"{path}: {name} is a sparse, quantized or empty tensor; save the"
                " weights as dense tensors"
            )
    return dict(state)


def _is_mapped(path: str | os.PathLike) -> bool:
    """Whether to map a file into memory, so that its tensors do not take twice as much.

    Only large files, as a process is killed if one is cut while it is mapped; and not
    those of PyTorch before 1.6, which are no zip files.
    """
    with open(path, "rb") as f:
        return f.read(4) == b"PK\x03\x04" and os.fstat(f.fileno()).st_size >= MAPPED


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
        f"{name} is of {str(x.dtype).removeprefix('torch.')}"
        for name, x in state.items()
        if name in own and x.is_floating_point() != own[name].is_floating_point()
    ]
    problems += [
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


def check_sizes(
    where: str | os.PathLike,
    conf: dict[str, Any],
    state: "dict[str, torch.Tensor]",
) -> None:
    """Refuse settings of a network much larger than its weights, before it is built.

    Args:
        where: What messages call the settings.
        conf: The settings, with ``encoder_conf`` and the like.
        state: The weights.

    Raises:
        SVError: A size is out of range, or there are more blocks than weights.
    """
    for part in _SIZED_PARTS:
        options = conf.get(f"{part}_conf") or {}
        for name, value in options.items():
            whole = isinstance(value, int) and not isinstance(value, bool)
            if whole and abs(value) > MAX_SIZE:
                raise SVError(f"{where}: {part}_conf: {name} {value} is out of range")
        blocks = options.get("num_blocks")
        if isinstance(blocks, int) and blocks > len(state):
            raise SVError(
                f"{where}: {part}_conf: num_blocks {blocks}, but the weights have only"
                f" {len(state)} tensors"
            )


def load_config(path: str | os.PathLike) -> dict[str, Any]:
    """Load a training configuration, which is untrusted, with the safe YAML loader.

    Raises:
        SVError: The file is missing, not YAML, or not a mapping of names; or its
            aliases multiply without bound.
    """
    try:
        conf = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        _count_entries(conf, {})
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e
    except (SVError, MemoryError):
        raise
    except Exception as e:  # constructors of YAML's types raise all kinds of errors
        raise SVError(f"{path}: not a YAML file of plain data") from e
    if not isinstance(conf, dict):
        raise SVError(f"{path}: holds no settings")
    for key, value in conf.items():
        if not isinstance(key, str):
            raise SVError(f"{path}: the key {key!r} is not a name")
        if key.endswith("_conf") and not isinstance(value, dict | None):
            raise SVError(f"{path}: {key} is not a mapping of options")
    return conf


def _count_entries(value: Any, counted: dict[int, int]) -> int:
    """Count the entries of nested data; aliases count each time they are used.

    Raises:
        ValueError: There are too many, or the data contains itself.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) in counted:
        total = counted[id(value)]
        if total < 0:
            raise ValueError("the data contains itself")
        return total
    counted[id(value)] = -1  # in progress
    inner = value.values() if isinstance(value, dict) else value
    total = 1 + sum(_count_entries(item, counted) for item in inner)
    if total > MAX_CONFIG_ENTRIES:
        raise ValueError("too many entries")
    counted[id(value)] = total
    return total
