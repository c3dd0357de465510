"""The front end, normalisation and encoder of an ASR model, read block by block."""

import argparse
import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
from espnet2.legacy.nets.pytorch_backend.transformer.attention import (
    LegacyRelPositionMultiHeadedAttention,
)
from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (
    TooShortUttError,
    check_short_utt,
)
from typeguard import TypeCheckError

from espnet2_sv.asr.copying import CopyReport, copy_asr_weights
from espnet2_sv.asr.mvn import StoredMVN
from espnet2_sv.asr.settings import encoder_classes
from espnet2_sv.errors import SVError

__all__ = ["BlockBackbone", "CopyReport", "build_backbone", "copy_asr_weights"]

# frames in per frame out, by the name of ESPnet's subsampling class
_SUBSAMPLING = {
    "Conv1dSubsampling2": 2,
    "Conv1dSubsampling3": 3,
    "Conv2dSubsampling": 4,
    "Conv2dSubsampling2": 2,
    "Conv2dSubsampling6": 6,
    "Conv2dSubsampling8": 8,
}
_LONGEST_SUBSAMPLING_INPUT = 64  # frames; above what any subsampling needs for one output frame


def sample_rate(frontend: torch.nn.Module) -> int:
    """Sampling rate of the audio that a ``DefaultFrontend`` expects, in Hz."""
    return int(frontend.logmel.mel_options["sr"])


def subsampling(encoder: torch.nn.Module) -> int:
    """Feature frames per frame of an ESPnet encoder."""
    return _SUBSAMPLING.get(type(encoder.embed).__name__, 1)


class BlockBackbone(torch.nn.Module):
    """From audio to the output of every encoder block.

    The front end and normalisation always run in float32. An utterance's outputs do not depend on
    what it is batched with, unless :attr:`legacy_positions` is set: then only utterances of equal
    length may share a batch.

    Args:
        frontend: ESPnet's ``DefaultFrontend``.
        normalize: Feature normalisation, or None.
        encoder: An ESPnet encoder with a stack of blocks in ``encoders``; dropping whole blocks at
            random is switched off in it, because every block is read.
        specaug: Augmentation of the features, used in training only.
        ctc: The CTC layer that a self-conditioned encoder feeds back.
    """

    def __init__(
        self,
        frontend: torch.nn.Module,
        normalize: torch.nn.Module | None,
        encoder: torch.nn.Module,
        specaug: torch.nn.Module | None = None,
        ctc: torch.nn.Module | None = None,
    ):
        super().__init__()
        self.frontend = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.encoder = encoder
        self.ctc = ctc if self._conditioned else None
        self.frozen = False
        for module in (encoder, encoder.encoders):
            if hasattr(module, "layer_drop_rate"):
                module.layer_drop_rate = 0.0
        if hasattr(encoder, "after_norm") and not self._reads_final_norm:
            encoder.after_norm.requires_grad_(False)
        self._trainable = {name for name, p in self.named_parameters() if p.requires_grad}
        self._wanted_mode = self.training

    @property
    def _conditioned(self) -> bool:
        return bool(getattr(self.encoder, "interctc_use_conditioning", False))

    @property
    def _reads_final_norm(self) -> bool:
        """Whether a block's output depends on the norm that follows the last block."""
        return self._conditioned and not isinstance(self.encoder, EBranchformerEncoder)

    @property
    def num_blocks(self) -> int:
        """L, the number of blocks."""
        return len(self.encoder.encoders)

    @property
    def block_dim(self) -> int:
        """D, the width of a block's output."""
        return self.encoder.output_size()

    @property
    def sample_rate(self) -> int:
        """Sampling rate of the audio, in Hz."""
        return sample_rate(self.frontend)

    @property
    def hop_length(self) -> int:
        """Samples from one feature frame to the next."""
        return self.frontend.hop_length

    @property
    def subsampling(self) -> int:
        """Feature frames per encoder frame."""
        return subsampling(self.encoder)

    @property
    def frame_rate_hz(self) -> float:
        """Encoder frames per second."""
        return self.sample_rate / (self.hop_length * self.subsampling)

    @property
    def legacy_positions(self) -> bool:
        """Whether outputs depend on padding (ESPnet's legacy relative positions)."""
        kinds = LegacyRelPositionMultiHeadedAttention
        return any(isinstance(m, kinds) for m in self.encoder.modules())

    @property
    def minimum_samples(self) -> int:
        """The shortest audio that gives one encoder frame, in samples."""
        sizes = range(1, _LONGEST_SUBSAMPLING_INPUT)
        frames = next(n for n in sizes if not check_short_utt(self.encoder.embed, n)[0])
        return max((frames - 1) * self.hop_length, self._reflected + 1)

    @property
    def _reflected(self) -> int:
        """Samples mirrored at either end of the audio, so that frames are centred."""
        return self.frontend.stft.n_fft // 2 if self.frontend.stft.center else 0

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or unfreeze.

        Frozen means evaluation mode whatever ``train()`` says (BatchNorm statistics rest, dropout
        is off), no gradients, and a forward pass that builds no graph.
        """
        self.frozen = frozen
        for name, parameter in self.named_parameters():
            if name in self._trainable:
                parameter.requires_grad_(not frozen)
        self.train(self._wanted_mode)

    def train(self, mode: bool = True) -> "BlockBackbone":
        """Set training mode; while frozen, the mode is only noted for later."""
        self._wanted_mode = mode
        return super().train(mode and not self.frozen)

    def parameter_groups(self) -> list[tuple[int, list[torch.nn.Parameter]]]:
        """Trainable parameters by depth, for learning rates that decay with depth.

        Returns:
            ``(depth, parameters)``: depth 0 is everything below the first block, 1 to L the
            blocks. What a self-conditioned encoder feeds back belongs to the block before it.
        """
        groups: dict[int, list] = {depth: [] for depth in range(self.num_blocks + 1)}
        for name, parameter in self.named_parameters():
            if name in self._trainable:
                groups[self._depth(name)].append(parameter)
        return [(depth, parameters) for depth, parameters in groups.items() if parameters]

    def _depth(self, name: str) -> int:
        if name.startswith("encoder.encoders."):  # e.g. encoder.encoders.3.conv_module.norm.weight
            return int(name.split(".")[2]) + 1
        if name.startswith(("encoder.conditioning_layer.", "encoder.after_norm.", "ctc.")):
            return min(self.encoder.interctc_layer_idx)
        return 0

    def forward(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Run the encoder and read every block.

        Args:
            speech: Audio (B, S), zero-padded.
            speech_lengths: Valid samples (B,).

        Returns:
            L block outputs, each (B, T, D), and their valid frames (B,).

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            feats, lengths = self.features(speech, speech_lengths)
            return self.blocks(feats, lengths)

    def features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio (B, S) to normalised features (B, T', F) and their lengths (B,), in float32."""
        with torch.autocast(speech.device.type, enabled=False):
            speech = self._pad(speech.float(), speech_lengths)
            feats, lengths = self.frontend(speech, speech_lengths)
            feats = feats[:, : int(lengths.max())]
            if self.specaug is not None and self.training:
                feats, lengths = self.specaug(feats, lengths)
            if self.normalize is not None:
                feats, lengths = self.normalize(feats, lengths)
        return feats, lengths

    def _pad(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Continue every utterance as the front end continues one that stands alone.

        The front end mirrors the end of the *batch*. A shorter utterance would see its zero padding
        in the last frames instead, and its embedding would change with its neighbours.
        """
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < self.minimum_samples:
            raise SVError(
                f"an utterance of {shortest} samples is too short: this model needs "
                f"{self.minimum_samples} ({self.minimum_samples / self.sample_rate:.3f} s)"
            )
        speech = speech[:, :longest]
        if shortest == longest or self._reflected == 0:
            return speech
        last = lengths.unsqueeze(1).to(speech.device) - 1
        place = torch.arange(longest + self._reflected, device=speech.device).expand(
            len(speech), -1
        )
        mirrored = torch.where(place <= last, place, 2 * last - place).clamp(min=0)
        return speech.gather(1, mirrored)

    def blocks(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Features (B, T', F) to the L block outputs, each (B, T, D), and their lengths (B,)."""
        options = {"ctc": self.ctc} if self._conditioned else {}
        try:
            with _read_blocks(self.encoder) as outputs:
                _, lengths, *_ = self.encoder(feats, lengths, **options)
        except TooShortUttError as e:
            raise SVError(
                f"an utterance of {e.actual_size} feature frames is too short: this model needs "
                f"{e.limit}"
            ) from e
        return outputs, lengths


@contextlib.contextmanager
def _read_blocks(encoder: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect block outputs while the context is open; nothing stays attached to the encoder."""
    outputs: list[torch.Tensor] = []

    def read(module, args, output):
        hidden = output[0]  # with relative positions (hidden, positions)
        outputs.append(hidden[0] if isinstance(hidden, tuple) else hidden)

    handles = [block.register_forward_hook(read) for block in encoder.encoders]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def build_backbone(
    settings: dict[str, Any] | argparse.Namespace, specaug: torch.nn.Module | None = None
) -> BlockBackbone:
    """Build a backbone with random weights.

    Args:
        settings: What :func:`~espnet2_sv.asr.settings.backbone_settings` returns, or the same keys
            chosen by hand; other keys are ignored.
        specaug: Augmentation of the features in training.

    Raises:
        SVError: A name or an option is unknown.
    """
    conf = copy.deepcopy(settings if isinstance(settings, dict) else vars(settings))
    try:
        frontend = _build_frontend(conf)
        normalize = _build_normalize(conf)
        encoder, ctc = _build_encoder(conf, frontend.output_size())
    except (TypeError, ValueError, AssertionError, TypeCheckError) as e:
        reason = str(e).splitlines()[0] if str(e) else "an option is out of range"
        raise SVError(f"the encoder cannot be built from these settings: {reason}") from e
    return BlockBackbone(frontend, normalize, encoder, specaug=specaug, ctc=ctc)


def _build_frontend(conf: dict[str, Any]) -> torch.nn.Module:
    from espnet2.asr.frontend.default import DefaultFrontend

    if conf.get("frontend", "default") != "default":
        raise SVError(f"frontend {conf['frontend']!r} is not supported; use 'default'")
    return DefaultFrontend(**(conf.get("frontend_conf") or {}))


def _build_normalize(conf: dict[str, Any]) -> torch.nn.Module | None:
    from espnet2.layers.utterance_mvn import UtteranceMVN

    choices = {"stored_mvn": StoredMVN, "utterance_mvn": UtteranceMVN}
    name = conf.get("normalize")
    if name is None:
        return None
    if name not in choices:
        raise SVError(f"normalize {name!r} is not supported; use {' or '.join(choices)}")
    return choices[name](**(conf.get("normalize_conf") or {}))


def _build_encoder(conf: dict[str, Any], input_size: int) -> tuple:
    from espnet2.asr.ctc import CTC

    classes = encoder_classes()
    if conf.get("encoder") not in classes:
        raise SVError(f"encoder {conf.get('encoder')!r} is not one of {', '.join(classes)}")
    encoder = classes[conf["encoder"]](input_size=input_size, **(conf.get("encoder_conf") or {}))
    vocab = conf.get("conditioning_vocab")
    if not getattr(encoder, "interctc_use_conditioning", False):
        return encoder, None
    if vocab is None:
        raise SVError("a self-conditioned encoder needs conditioning_vocab, its vocabulary size")
    encoder.conditioning_layer = torch.nn.Linear(vocab, encoder.output_size())
    return encoder, CTC(odim=vocab, encoder_output_size=encoder.output_size())
