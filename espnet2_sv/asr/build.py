"""Building ASR models with ESPnet's own task, without their training files."""

import argparse
import contextlib
import copy
import importlib.util
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_sv.asr.task import task_of
from espnet2_sv.backbones.front_ends import (
    require_package,
    s3prl_options,
    with_s3prl_names,
)
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.checkpoint import check_sizes, load_strictly

_WARP_RNNT = "warprnnt_pytorch"


def build_asr_model(
    args: argparse.Namespace, state: dict[str, torch.Tensor]
) -> torch.nn.Module:
    """Build the network of a checkpoint and load its weights strictly.

    Args:
        args: The checkpoint's own settings. ``token_list`` becomes what the model uses.
        state: The checkpoint's weights, with either spelling of the subsampling
            projection.

    Returns:
        An ``ESPnetASRModel``, ``ESPnetS2TModel`` or ``ESPnetS2TCTCModel`` in evaluation
        mode.

    Raises:
        SVError: Settings and weights do not belong together, or this ESPnet cannot
            build them.
    """
    task = task_of(vars(args)).task_class()
    check_sizes("this ASR model", vars(args), state)
    with buildable(args, state) as build_args:
        try:
            model = task.build_model(build_args)
        # a setting of another ESPnet version; the classes raise anything
        except Exception as e:
            reason = " ".join(str(e).split())[:200] or type(e).__name__
            raise SVError(f"ESPnet cannot build this ASR model: {reason}") from e
    args.token_list = build_args.token_list
    state = with_s3prl_names(state, model)
    load_strictly(model, state, unused=lambda name: _left_over(name, model))
    for module in model.modules():  # as ESPnet's recogniser of OWSM does
        if getattr(module, "use_flash_attn", False):
            module.use_flash_attn = False
    return model.eval()


@contextlib.contextmanager
def buildable(
    args: argparse.Namespace, state: dict[str, torch.Tensor]
) -> Iterator[argparse.Namespace]:
    """Make settings with which ESPnet can build a model whose training files are gone.

    A transducer can be built without ``warprnnt_pytorch`` while the context is open.

    Args:
        args: The checkpoint's own settings.
        state: Its weights, from which the statistics file is restored.

    Yields:
        A copy of the settings; their files exist while the context is open.

    Raises:
        SVError: The weights lack the statistics, S3PRL is needed and missing, or an
            option of it is refused.
    """
    args = copy.deepcopy(args)
    args.init = None  # the weights come from the checkpoint
    if args.frontend == "s3prl":
        require_package("s3prl")
        args.frontend_conf = s3prl_options(args.frontend_conf)
    with tempfile.TemporaryDirectory() as folder, _transducer_loss():
        restore_stats(vars(args), state, Path(folder, "feats_stats.npz"))
        yield args


def restore_stats(
    conf: dict[str, Any],
    state: dict[str, torch.Tensor],
    path: Path,
    recorded: Path | None = None,
) -> None:
    """Restore ESPnet's ``feats_stats.npz`` from the mean and deviation in the weights.

    Only configurations with ``normalize: global_mvn`` have one; others are left alone.

    Args:
        conf: The configuration; its ``stats_file`` becomes the new file.
        state: The weights.
        path: The file to write.
        recorded: Path to record in the configuration, if not ``path``.

    Raises:
        SVError: The weights lack mean or deviation.
    """
    if conf.get("normalize") != "global_mvn":
        return
    try:
        mean = state["normalize.mean"].double().cpu().numpy()
        std = state["normalize.std"].double().cpu().numpy()
    except KeyError as e:
        raise SVError(
            f"the weights lack {e.args[0]}, which normalize: global_mvn needs"
        ) from e
    sums = {"sum": mean, "sum_square": std**2 + mean**2}  # of one frame
    np.savez(
        path, count=1, **{key: value.astype(np.float32) for key, value in sums.items()}
    )
    stats_file = str(path if recorded is None else recorded)
    conf["normalize_conf"] = {**conf["normalize_conf"], "stats_file": stats_file}


def _left_over(name: str, model: torch.nn.Module) -> bool:
    """Whether a tensor belongs to a part that older ESPnet versions kept unused."""
    return any(
        name.startswith(f"{part}.") and getattr(model, part, None) is None
        for part in ("ctc", "decoder")
    )


class _TrainingLossOnly(torch.nn.Module):
    """Takes the place of a transducer's training loss."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, *args, **kwargs):
        raise SVError(
            f"install {_WARP_RNNT} to train a transducer; it is not installed here"
        )


@contextlib.contextmanager
def _transducer_loss() -> Iterator[None]:
    """Let ESPnet build a transducer where ``warprnnt_pytorch`` is not installed.

    ESPnet's model imports that package in its constructor, although only the training
    loss uses it; there is no option to leave the loss out. While this context is open,
    and only where the package is missing, the import finds a placeholder.
    """
    if _WARP_RNNT in sys.modules or importlib.util.find_spec(_WARP_RNNT) is not None:
        yield
        return
    placeholder = types.ModuleType(_WARP_RNNT)
    vars(placeholder)["RNNTLoss"] = _TrainingLossOnly
    sys.modules[_WARP_RNNT] = placeholder
    try:
        yield
    finally:
        del sys.modules[_WARP_RNNT]
