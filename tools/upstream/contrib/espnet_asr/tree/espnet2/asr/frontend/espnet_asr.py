# Apache 2.0  (http://www.apache.org/licenses/LICENSE-2.0)

"""Encoder of a pretrained ESPnet ASR model as a frontend."""

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import List, Optional, Tuple, Union

import humanfriendly
import torch
import yaml
from typeguard import typechecked

from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.layers.global_mvn import GlobalMVN
from espnet2.legacy.nets.pytorch_backend.transformer.layer_norm import LayerNorm
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from espnet2.utils.pretrained import download_pretrained

# Parts of an ASR model that are used, and that its checkpoint has as prefixes
PARTS = ("frontend", "normalize", "preencoder", "encoder")
# Encoders that are a stack of blocks with one output (B, T, D) each
ENCODERS = (
    "branchformer",
    "conformer",
    "e_branchformer",
    "multiconv_conformer",
    "transformer",
)


class ESPnetASRFrontend(AbsFrontend):
    """Block outputs of a pretrained ESPnet ASR encoder, concatenated.

    The ASR model computes features, normalizes and encodes them by its own settings.
    The outputs of its encoder blocks (before the encoder's final LayerNorm) are
    concatenated and layer-normalized, as in ``MfaConformerEncoder``.

    The ASR model is read from ``asr_train_config`` and ``asr_model_file`` or from
    ``model_tag`` when a training starts. Its weights are part of the checkpoints, and
    ``portable_conf()`` has all that is needed to rebuild this frontend, so that a
    trained model does not need the files of the ASR model.

    Paper: D. Cai and M. Li, ``Leveraging ASR pretrained conformers for speaker
    verification through transfer learning and knowledge distillation,''
    IEEE/ACM TASLP, 2024.

    Args:
        fs: Sampling rate of the input, must be that of the ASR model.
        asr_train_config: Training configuration (yaml) of the ASR model.
        asr_model_file: Checkpoint of the ASR model.
        model_tag: Tag of a published ASR model instead of the two files.
        blocks: Blocks to use, 0-indexed. All by default.
        freeze: Keep the ASR model as it is: without gradients, in eval mode.
        layer_norm: Apply LayerNorm to the concatenated outputs.
        asr_conf: Written by ``portable_conf()``: settings of the ASR model, whose
            weights are in the checkpoint that will be loaded.

    """

    @typechecked
    def __init__(
        self,
        fs: Union[int, str] = 16000,
        asr_train_config: Optional[str] = None,
        asr_model_file: Optional[str] = None,
        model_tag: Optional[str] = None,
        blocks: Optional[List[int]] = None,
        freeze: bool = True,
        layer_norm: bool = True,
        asr_conf: Optional[dict] = None,
    ):
        super().__init__()
        self.asr_model_file = None
        if asr_conf is None:
            if model_tag is not None:
                files = download_pretrained(model_tag)
                asr_train_config = files.get("asr_train_config")
                asr_model_file = files.get("asr_model_file")
            if asr_train_config is None or asr_model_file is None:
                raise ValueError(
                    "espnet_asr: give asr_train_config and asr_model_file, or the "
                    "model_tag of an ASR model"
                )
            with Path(asr_train_config).open("r", encoding="utf-8") as f:
                config = yaml.safe_load(f)
            names = [n for part in PARTS for n in (part, part + "_conf")]
            asr_conf = {name: config[name] for name in names if config.get(name)}
            if asr_conf.get("normalize") == "global_mvn":
                # The checkpoint has the statistics
                asr_conf["normalize_conf"].pop("stats_file", None)
            self.asr_model_file = asr_model_file
        self.fs = _parse_fs(fs)
        asr_fs = _parse_fs(asr_conf.get("frontend_conf", {}).get("fs", 16000))
        if self.fs != asr_fs:
            raise ValueError(f"espnet_asr: fs is {fs}, but the ASR model's is {asr_fs}")

        self.upstream = ASREncoder(asr_conf)
        num_blocks = len(self.upstream.encoder.encoders)
        self.blocks = list(range(num_blocks)) if blocks is None else blocks
        if not self.blocks or not set(self.blocks) <= set(range(num_blocks)):
            raise ValueError(
                f"espnet_asr: blocks {blocks} are not among 0 to {num_blocks - 1}"
            )
        self._output_size = len(self.blocks) * self.upstream.encoder.output_size()
        self.norm = LayerNorm(self._output_size) if layer_norm else None
        self.freeze = freeze
        self.train(self.training)
        self.upstream.requires_grad_(not freeze)
        if hasattr(self.upstream.encoder, "after_norm"):
            # It comes after the outputs that are used
            self.upstream.encoder.after_norm.requires_grad_(False)
        self.asr_conf = asr_conf
        self.has_weights = False
        self.reload_pretrained_parameters()

    def output_size(self) -> int:
        return self._output_size

    def portable_conf(self) -> dict:
        """Return the arguments that rebuild this frontend without the ASR files."""
        return dict(
            fs=self.fs,
            blocks=self.blocks,
            freeze=self.freeze,
            layer_norm=self.norm is not None,
            asr_conf=self.asr_conf,
        )

    def reload_pretrained_parameters(self):
        if self.asr_model_file is not None:
            self.upstream.load_pretrained(self.asr_model_file)
            self.has_weights = True
            logging.info(f"Pretrained ASR encoder loaded from {self.asr_model_file}")

    def train(self, mode: bool = True):
        super().train(mode)
        if self.freeze:
            # BatchNorm statistics and dropout stay as in inference, too
            self.upstream.eval()
        return self

    def forward(
        self, input: torch.Tensor, input_lengths: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Encode speech.

        Args:
            input: Speech (B, samples).
            input_lengths: Valid samples (B,).

        Returns:
            Block outputs (B, T, D * blocks) and their valid frames (B,).

        """
        if not self.has_weights:
            raise RuntimeError(
                "espnet_asr: the ASR model has no weights: load a checkpoint, or give "
                "asr_train_config and asr_model_file, or model_tag, instead of asr_conf"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            outputs, lengths = self.upstream(input, input_lengths)
        feats = torch.cat([outputs[i] for i in self.blocks], dim=-1)
        if self.norm is not None:
            feats = self.norm(feats)
        return feats, lengths

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.has_weights |= any(k.startswith(prefix + "upstream.") for k in state_dict)


class ASREncoder(torch.nn.Module):
    """Feature extraction, normalization and encoder of an ESPnet ASR model.

    Args:
        asr_conf: Settings of these parts as in the ASR model's training configuration.

    """

    def __init__(self, asr_conf: dict):
        super().__init__()
        # Not at the top: ASRTask may itself offer this frontend
        from espnet2.tasks.asr import (
            encoder_choices,
            frontend_choices,
            normalize_choices,
            preencoder_choices,
        )

        conf = {part: asr_conf.get(part + "_conf", {}) for part in PARTS}
        if asr_conf.get("encoder") not in ENCODERS:
            raise ValueError(
                f"espnet_asr: the ASR model's encoder is {asr_conf.get('encoder')}, "
                f"must be one of {', '.join(ENCODERS)}"
            )
        if conf["encoder"].get("interctc_use_conditioning"):
            raise ValueError(
                "espnet_asr: self-conditioned CTC (interctc_use_conditioning) is not "
                "supported"
            )
        if asr_conf.get("frontend") is None:
            raise ValueError("espnet_asr: the ASR model has no frontend for raw speech")

        self.frontend = frontend_choices.get_class(asr_conf["frontend"])(
            **conf["frontend"]
        )
        size = self.frontend.output_size()
        self.normalize = None
        if asr_conf.get("normalize") == "global_mvn":
            self.normalize = StoredGlobalMVN(size, **conf["normalize"])
        elif asr_conf.get("normalize") is not None:
            self.normalize = normalize_choices.get_class(asr_conf["normalize"])(
                **conf["normalize"]
            )
        self.preencoder = None
        if asr_conf.get("preencoder") is not None:
            self.preencoder = preencoder_choices.get_class(asr_conf["preencoder"])(
                **conf["preencoder"]
            )
            size = self.preencoder.output_size()
        self.encoder = encoder_choices.get_class(asr_conf["encoder"])(
            input_size=size, **conf["encoder"]
        )
        for module in (self.encoder, self.encoder.encoders):
            if hasattr(module, "layer_drop_rate"):
                module.layer_drop_rate = 0.0  # every block's output is needed

    def load_pretrained(self, model_file: Union[Path, str]):
        """Load the weights of these parts from the checkpoint of an ASR model.

        Names of earlier releases are translated by the modules themselves.

        Raises:
            RuntimeError: If the checkpoint lacks a weight, has a further one in these
                parts, or has another shape.

        """
        state_dict = safe_torch_load(model_file, map_location="cpu")
        for wrapper in ("module", "state_dict"):  # of deepspeed, of lightning
            state_dict = state_dict.get(wrapper, state_dict)
        state_dict = {
            name: weight
            for name, weight in state_dict.items()
            if name.split(".")[0] in PARTS
        }
        result = self.load_state_dict(state_dict, strict=False)
        different = result.missing_keys + result.unexpected_keys
        if different:
            raise RuntimeError(
                f"espnet_asr: {model_file} does not fit its configuration: "
                f"{len(result.missing_keys)} weights are missing and "
                f"{len(result.unexpected_keys)} unexpected, e.g. {different[0]}"
            )

    def forward(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> Tuple[List[torch.Tensor], torch.Tensor]:
        """Return the output of each block, (B, T, D), and their valid frames (B,)."""
        with torch.autocast(speech.device.type, enabled=False):
            feats, lengths = self.frontend(speech.float(), speech_lengths)
            if self.normalize is not None:
                feats, lengths = self.normalize(feats, lengths)
        if self.preencoder is not None:
            feats, lengths = self.preencoder(feats, lengths)
        with record_outputs(self.encoder.encoders) as outputs:
            _, lengths, _ = self.encoder(feats, lengths)
        return outputs, lengths


class StoredGlobalMVN(GlobalMVN):
    """GlobalMVN whose statistics come from a checkpoint instead of a file.

    Args:
        size: Feature dimension.
        norm_means: Apply mean normalization.
        norm_vars: Apply var normalization.
        eps: Unused, the stored standard deviations are used as they are.

    """

    def __init__(
        self,
        size: int,
        norm_means: bool = True,
        norm_vars: bool = True,
        eps: float = 1.0e-20,
    ):
        AbsNormalize.__init__(self)
        self.norm_means = norm_means
        self.norm_vars = norm_vars
        self.eps = eps
        self.stats_file = None
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))


@contextmanager
def record_outputs(blocks: torch.nn.Sequential):
    """Record the hidden states (B, T, D) that blocks return, while it is open."""
    outputs = []

    def record(module, args, output):
        hidden = output[0]  # (hidden, pos_emb) with relative positions
        outputs.append(hidden[0] if isinstance(hidden, tuple) else hidden)

    handles = [block.register_forward_hook(record) for block in blocks]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _parse_fs(fs: Union[int, str]) -> int:
    return humanfriendly.parse_size(fs) if isinstance(fs, str) else fs
