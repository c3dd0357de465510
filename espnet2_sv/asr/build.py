"""Rebuilding an ASR model with ESPnet's own task, without the files that only training needs."""

import argparse
import contextlib
import copy
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from espnet2_sv.errors import SVError

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
        An ``ESPnetASRModel`` in evaluation mode.

    Raises:
        SVError: Settings and weights do not belong together, or this ESPnet cannot
            build them.
    """
    from espnet2.tasks.asr import ASRTask

    build_args = copy.deepcopy(args)
    build_args.init = None  # the weights come from the checkpoint
    with tempfile.TemporaryDirectory() as folder, transducer_loss_at_hand():
        if args.normalize == "global_mvn":
            stats = Path(folder) / "feats_stats.npz"
            write_stats(stats, state)
            build_args.normalize_conf["stats_file"] = str(stats)
        try:
            model = ASRTask.build_model(build_args)
        except (
            Exception
        ) as e:  # a setting of another ESPnet version; the classes raise anything
            reason = " ".join(str(e).split())[:200] or type(e).__name__
            raise SVError(f"ESPnet cannot build this ASR model: {reason}") from e
    args.token_list = build_args.token_list
    _load_strictly(model, state)
    return model.eval()


def write_stats(path: str | os.PathLike, state: dict[str, torch.Tensor]) -> None:
    """Write ESPnet's ``feats_stats.npz``, remade from the mean and deviation in a checkpoint.

    Raises:
        SVError: The checkpoint has none.
    """
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


def _load_strictly(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as e:  # shapes
        reason = " ".join(str(e).split())[:200]
        raise SVError(f"the weights do not fit their configuration: {reason}") from e
    unexpected = [n for n in result.unexpected_keys if not _left_over(n, model)]
    if result.missing_keys or unexpected:
        examples = ", ".join([*result.missing_keys, *unexpected][:3])
        raise SVError(
            f"the weights do not fit their configuration: {len(result.missing_keys)}"
            f" tensors missing, {len(unexpected)} unexpected, e.g. {examples}"
        )


def _left_over(name: str, model: torch.nn.Module) -> bool:
    """Whether a tensor is of a part that older ESPnet versions kept although it was never used."""
    return any(
        name.startswith(f"{part}.") and getattr(model, part, None) is None
        for part in ("ctc", "decoder")
    )


class _TrainingLossOnly(torch.nn.Module):
    """Stands where a transducer keeps its training loss."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, *args, **kwargs):
        raise SVError(
            f"install {_WARP_RNNT} to train a transducer; it is not installed here"
        )


@contextlib.contextmanager
def transducer_loss_at_hand() -> Iterator[None]:
    """Let ESPnet build a transducer where ``warprnnt_pytorch`` is not installed.

    ESPnet imports that package while it builds the model, though only the training loss
    uses it. While this context is open, and only where it is missing, the import finds
    a stand-in.
    """
    if _WARP_RNNT in sys.modules or importlib.util.find_spec(_WARP_RNNT) is not None:
        yield
        return
    stand_in = types.ModuleType(_WARP_RNNT)
    stand_in.RNNTLoss = _TrainingLossOnly
    sys.modules[_WARP_RNNT] = stand_in
    try:
        yield
    finally:
        del sys.modules[_WARP_RNNT]
