"""A pretrained ASR model, found, checked and rebuilt."""

import argparse
import copy
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import torch

from espnet2_sv.asr.build import build_asr_model
from espnet2_sv.asr.prompt import compute_prompt, prompt_symbols
from espnet2_sv.asr.supported import check_supported
from espnet2_sv.asr.task import S2T_CTC, AsrTask, task_of
from espnet2_sv.backbones.blocks import BlockBackbone, subsampling
from espnet2_sv.backbones.front_ends import front_end
from espnet2_sv.backbones.prompted import PromptedBackbone
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.checkpoint import load_state_dict
from espnet2_sv.zoo.files import ModelFiles, find_model_files, locate

if TYPE_CHECKING:
    from espnet2.asr.espnet_model import ESPnetASRModel


@dataclass(frozen=True)
class AsrBundle:
    """A pretrained ASR model.

    Attributes:
        model: ESPnet's ASR model, in evaluation mode.
        args: Its training arguments; file paths point to where the files are now.
        directory: The directory it was loaded from.
    """

    model: "ESPnetASRModel"
    args: argparse.Namespace
    directory: Path | None

    @property
    def task(self) -> AsrTask:
        """The ESPnet task that trained it."""
        return task_of(vars(self.args))

    def backbone(
        self, lang_sym: str | None = None, task_sym: str | None = None
    ) -> BlockBackbone:
        """Return the model's front end, normalisation and encoder; nothing is copied.

        The encoder's final norm no longer gets gradients, as its output is not used.

        Args:
            lang_sym: Symbol for the language that an OWSM-CTC encoder reads; see
                :func:`espnet2_sv.asr.prompt.prompt_symbols`.
            task_sym: Symbol for the task, likewise.

        Raises:
            SVError: The model lacks a symbol, or its encoder reads none.
        """
        model = self.model
        symbols = prompt_symbols(self.args, lang_sym, task_sym)
        parts = model.frontend, model.normalize, model.encoder
        others = {"ctc": model.ctc, "preencoder": getattr(model, "preencoder", None)}
        if self.task is S2T_CTC:
            return PromptedBackbone(*parts, compute_prompt(model, symbols), **others)
        return BlockBackbone(*parts, **others)

    def summary(self) -> dict[str, Any]:
        """Return what ``asr_resolve --json`` prints."""
        front, encoder = front_end(self.model.frontend), self.model.encoder
        frame = front.hop_length * subsampling(encoder)  # samples
        symbols = prompt_symbols(self.args) if self.task is S2T_CTC else {}
        return {
            "task": self.task.name,
            **symbols,
            "encoder": self.args.encoder,
            "blocks": len(encoder.encoders),
            "dim": encoder.output_size(),
            "subsampling": subsampling(encoder),
            "sample_rate": front.sample_rate,
            "hop_length": front.hop_length,
            "frame_rate_hz": front.sample_rate / frame,
            "vocab": len(self.args.token_list),
            "has_ctc": self.model.ctc is not None,
            "encoder_parameters": sum(p.numel() for p in encoder.parameters()),
        }

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of the names and values of all weights, independent of the file.

        Values are hashed in single precision, in which they are used: training keeps
        the statistics of the normalisation in double precision, ESPnet's recogniser
        in single precision.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            data = tensor.detach().cpu().contiguous()
            data = data.float() if data.is_floating_point() else data
            digest.update(f"{name} {data.dtype} {tuple(data.shape)}\n".encode())
            digest.update(data.reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


def load_asr_bundle(
    source: ModelFiles | str | os.PathLike, device: str = "cpu"
) -> AsrBundle:
    """Load a pretrained ESPnet ASR model for use as a speaker model's encoder.

    Args:
        source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory with
            ``meta.yaml``, or the ``exp/`` directory of a training run; or files that
            were found before.
        device: Where the model goes.

    Raises:
        SVError: It is not found, damaged, unsafe, or of a kind whose blocks cannot be
            read.
    """
    files = (
        source if isinstance(source, ModelFiles) else find_model_files(source, "asr")
    )
    args = read_asr_args(files)
    try:
        check_supported(args)
        model = build_asr_model(args, load_state_dict(files.weights))
    except SVError as e:
        raise SVError(f"{files.name or files.root}: {e}") from e
    return AsrBundle(model=model.to(device), args=args, directory=files.root)


def read_asr_args(files: ModelFiles) -> argparse.Namespace:
    """Read an ASR model's settings, with today's defaults for keys of newer versions.

    Raises:
        SVError: The configuration is unreadable or refers to files elsewhere.
    """
    task = task_of(files.settings).task_class()
    # not get_default_config(), which parses the command line of the running program
    conf = vars(task.get_parser().parse_args([])) | copy.deepcopy(files.settings)
    for key in [k for k in conf if k.endswith("_conf") and conf[k] is None]:
        conf[key] = {}
    args = argparse.Namespace(**conf)
    args.token_list = _read_tokens(files, args.token_list)
    for key in ("bpemodel", "non_linguistic_symbols"):
        value = getattr(args, key)
        if isinstance(value, str):
            found = locate(files, key, value)
            if found is None and files.packed:  # nothing outside is ever read
                found = files.root / PurePath(value).name
            setattr(args, key, str(found or value))
    return args


def _read_tokens(files: ModelFiles, value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        if not all(isinstance(token, str) for token in value):
            raise SVError(f"{files.config}: token_list holds something else than text")
        return list(value)
    if not isinstance(value, str):
        raise SVError(f"{files.config}: has no token_list, so this is not an ASR model")
    path = locate(files, "token_list", value)
    if path is None:
        raise SVError(f"{files.config}: token_list names a missing file, {value!r}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise SVError(f"{path}: the list of tokens cannot be read") from e
    return [line.rstrip() for line in text.split("\n") if line]
