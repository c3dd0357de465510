"""Speaker models that one trace records for batches of any size and length.

ESPnet's modules decide by the values of lengths and keep tables of positions; a tracer
would record what they did for its example. Here both are computed from shapes. The
embeddings are the same up to rounding.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from espnet2.asr.ctc import CTC
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.layers.global_mvn import GlobalMVN
from espnet2.layers.stft import Stft
from espnet2.layers.utterance_mvn import UtteranceMVN
from espnet2.legacy.nets.pytorch_backend.transformer.embedding import (
    LegacyRelPositionalEncoding,
    PositionalEncoding,
    RelPositionalEncoding,
    ScaledPositionalEncoding,
)
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.build import Backbone
from espnet2_sv.backbones.features import StoredMVN
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.backbones.prompted import Prompt
from espnet2_sv.errors import SVError
from espnet2_sv.heads.pooled import PooledHead
from espnet2_sv.heads.pooling import valid_mask
from espnet2_sv.models.speaker_model import SpeakerModel, clone_sharing_weights


class TraceableSpeakerModel(torch.nn.Module):
    """Audio to embeddings, like the model that it shares its weights with.

    Args:
        model: The model, in eval mode.
        linear_convolutions: Compute convolutions with kernels of one frame as linear
            layers, which are slower in floating point but can be quantised.

    Attributes:
        minimum_samples: Samples of the shortest utterance.
        one_by_one: Whether a batch must hold one utterance without padding, because the
            model is ``padding_sensitive``.

    Raises:
        SVError: A part of the model cannot be traced; the message names it.
    """

    def __init__(self, model: SpeakerModel, linear_convolutions: bool = False):
        super().__init__()
        self.minimum_samples = model.backbone.minimum_samples
        self.one_by_one = model.backbone.padding_sensitive
        self.backbone = TraceableBackbone(model.backbone)
        self.head = traceable_copy(model.head)
        if linear_convolutions:
            replace_children(self, PointwiseLinear.of)
        self.eval()

    def forward(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Compute embeddings.

        Args:
            speech: Audio (B, S), of which the end may be padding with any values. S is
                at least ``minimum_samples``.
            lengths: Valid samples (B,).

        Returns:
            Embeddings (B, E), not length-normalised; NaN for an utterance whose length
            is less than ``minimum_samples`` or more than S.
        """
        blocks, frames = self.backbone(speech, lengths)
        if self.one_by_one and isinstance(self.head, PooledHead):
            pooled = self.head.pooling(blocks[-1].transpose(1, 2))  # without a mask
            embedding = self.head.projector(pooled)
        else:
            embedding = self.head(blocks, frames)
        wrong = (lengths < self.minimum_samples) | (lengths > speech.size(1))
        return embedding.masked_fill(wrong[:, None], math.nan)


class TraceableBackbone(torch.nn.Module):
    """Audio to block outputs, like the backbone that it shares its weights with.

    A :class:`~espnet2_sv.backbones.frame_encoders.FrameBackbone` and what else is
    ``padding_sensitive`` must get utterances of equal length.

    Args:
        backbone: The backbone, in eval mode.

    Raises:
        SVError: A part of it cannot be traced; the message names it.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        if isinstance(backbone, FrozenBackbone):
            backbone = backbone.running
        self.features = TraceableFeatures(backbone.frontend, backbone.normalize)
        self.preencoder = backbone.preencoder
        self.encoder = traceable_copy(backbone.encoder)
        self.has_blocks = isinstance(backbone, BlockBackbone)
        self.ctc = traceable_copy(getattr(backbone, "ctc", None))
        self.prompt: Prompt | None = getattr(backbone, "prompt", None)

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Run the backbone.

        Args:
            speech: Audio (B, S), of which the end may be padding with any values.
            lengths: Valid samples (B,).

        Returns:
            L block outputs, each (B, T, D), and their valid frames (B,).
        """
        feats, lengths = self.features(speech, lengths)
        if self.preencoder is not None:
            feats, lengths = self.preencoder(feats, lengths)
        if self.has_blocks:
            return self._blocks(feats, lengths)
        frames = self.encoder(feats).transpose(1, 2)
        return [frames], torch.full_like(lengths, frames.size(1))

    def _blocks(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Do what the ``forward`` of ESPnet's encoders does, without its branches."""
        encoder, mask = self.encoder, valid_mask(lengths, feats.size(1))[:, None]
        prefix: list[torch.Tensor] = []
        options: dict[str, torch.Tensor] = {}
        if self.prompt is not None:  # OWSM-CTC
            *prefix, options["memory"] = self.prompt(feats)
        hidden: Any = feats  # or a tuple with the positions
        if isinstance(encoder.embed, torch.nn.Sequential | torch.nn.Linear):
            hidden = encoder.embed(feats)
        elif encoder.embed is not None:  # a convolution that subsamples
            hidden, mask = encoder.embed(feats, mask, *prefix)
        outputs = []
        for depth, block in enumerate(encoder.encoders, start=1):
            hidden, mask = block(hidden, mask, **options)
            x, *positions = hidden if isinstance(hidden, tuple) else (hidden,)
            outputs.append(x)
            if self.ctc is not None and depth in encoder.interctc_layer_idx:
                x = x + self._feedback(self.ctc, x)
                hidden = (x, *positions) if positions else x
        first = prefix[0].size(1) if prefix else 0
        outputs = [frames[:, first:] for frames in outputs]
        return outputs, mask.squeeze(1).sum(1) - first

    def _feedback(self, ctc: CTC, hidden: torch.Tensor) -> torch.Tensor:
        """Self-conditioned CTC (Nozaki & Komatsu 2021)."""
        encoder = self.encoder
        normalised = getattr(encoder, "normalize_before", False)
        if normalised and not isinstance(encoder, EBranchformerEncoder):
            hidden = encoder.after_norm(hidden)
        return encoder.conditioning_layer(ctc.softmax(hidden))


class TraceableFeatures(torch.nn.Module):
    """Log-mel features of ESPnet's ``DefaultFrontend``, and their normalisation.

    The discrete Fourier transform is a convolution with cosines and sines: as exact as
    a fast transform in single precision, and no slower next to an encoder.

    Args:
        frontend: The front end.
        normalize: The normalisation, or None.

    Raises:
        SVError: It has a part that cannot be traced.
    """

    def __init__(self, frontend: AbsFrontend, normalize: AbsNormalize | None):
        super().__init__()
        if not isinstance(frontend, DefaultFrontend):
            raise SVError(
                "a self-supervised front end cannot be exported; export a model on"
                " log-mel features"
            )
        for part in ("use_wpe", "use_beamformer"):
            if getattr(frontend.frontend, part, False):
                raise SVError(f"the front end's {part} cannot be exported")
        if not isinstance(normalize, None | StoredMVN | GlobalMVN | UtteranceMVN):
            raise SVError(f"{type(normalize).__name__} cannot be exported")
        stft = frontend.stft
        self.n_fft, self.hop_length = stft.n_fft, stft.hop_length
        self.padding = stft.n_fft // 2 if stft.center else 0
        self.logmel, self.normalize = frontend.logmel, normalize
        self.fourier: torch.Tensor
        self.register_buffer("fourier", fourier_kernels(stft))

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features.

        Args:
            speech: Audio (B, S).
            lengths: Valid samples (B,).

        Returns:
            Features (B, T, F), zero in padded frames, and their valid frames (B,).
        """
        spectrum = torch.nn.functional.conv1d(
            self._reflected(speech, lengths)[:, None],
            self.fourier,
            stride=self.hop_length,
        )
        real, imaginary = spectrum.transpose(1, 2).chunk(2, dim=2)
        feats, _ = self.logmel(real**2 + imaginary**2)
        padded = lengths + 2 * self.padding - self.n_fft
        lengths = torch.div(padded, self.hop_length, rounding_mode="floor") + 1
        mask = valid_mask(lengths, feats.size(1))[..., None]
        return self._normalised(feats.masked_fill(~mask, 0.0), mask, lengths), lengths

    def _reflected(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mirror each utterance at both of its ends, as a centred STFT does."""
        if self.padding == 0:
            return speech
        size = speech.size(1)
        place = torch.arange(-self.padding, size + self.padding, device=speech.device)
        place, last = place.abs(), lengths[:, None] - 1
        place = torch.where(place <= last, place, 2 * last - place)
        # beyond the mirrored end, where frames are padding, any sample will do
        limit = torch.full_like(place, size - 1)
        return speech.gather(1, torch.minimum(place.clamp(min=0), limit))

    def _normalised(
        self, feats: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        normalize = self.normalize
        if normalize is None:
            return feats
        if isinstance(normalize, UtteranceMVN):
            frames = lengths[:, None, None]
            mean = feats.sum(dim=1, keepdim=True) / frames
            centred = (feats - mean).masked_fill(~mask, 0.0)
            feats = centred if normalize.norm_means else feats
            if normalize.norm_vars:
                std = (centred.square().sum(dim=1, keepdim=True) / frames).sqrt()
                feats = feats / std.clamp(min=normalize.eps)
            return feats
        if normalize.norm_means:
            feats = feats - normalize.mean.to(feats.dtype)
        if normalize.norm_vars:
            feats = feats / normalize.std.to(feats.dtype)
        return feats.masked_fill(~mask, 0.0)


def fourier_kernels(stft: Stft) -> torch.Tensor:
    """Return the windowed cosines and sines of ESPnet's ``Stft``.

    Args:
        stft: ESPnet's layer.

    Returns:
        Kernels (2F, 1, N) of a convolution over samples: first the real parts of all F
        frequencies, then the imaginary ones. Computed in double precision.
    """
    size = stft.n_fft
    bins = torch.arange(size // 2 + 1 if stft.onesided else size)
    # whole turns are removed before the multiplication, so the angle is exact
    turns = torch.outer(bins, torch.arange(size)).remainder(size).double() / size
    angle = 2 * math.pi * turns
    window = torch.ones(stft.win_length)
    if stft.window is not None:
        window = getattr(torch, f"{stft.window}_window")(stft.win_length)
    before = (size - stft.win_length) // 2
    after = size - stft.win_length - before
    window = torch.nn.functional.pad(window.double(), (before, after))
    if stft.normalized:
        window = window / math.sqrt(size)
    return torch.cat([angle.cos() * window, -angle.sin() * window])[:, None].float()


class TraceablePositions(torch.nn.Module):
    """Sinusoidal positions of ESPnet's encoders, computed instead of looked up.

    Args:
        encoding: ESPnet's layer.
    """

    def __init__(self, encoding: PositionalEncoding | RelPositionalEncoding):
        super().__init__()
        self.kind = type(encoding)
        self.dim, self.scale = encoding.d_model, encoding.xscale
        self.alpha: torch.Tensor | float = getattr(encoding, "alpha", 1.0)
        self.table_length = encoding.pe.size(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Add positions to frames, or return them beside the frames.

        Args:
            x: Frames (B, T, D).

        Returns:
            Frames (B, T, D); for relative positions also the positions, (1, T, D) or,
            for those of today's ESPnet, (1, 2T - 1, D).
        """
        frames = x.size(1)
        if self.kind is RelPositionalEncoding:
            return x * self.scale, self._encode(
                torch.arange(frames - 1, -frames, -1, device=x.device)
            )
        steps = torch.arange(frames, device=x.device)
        if self.kind is LegacyRelPositionalEncoding:
            # its table counts down to 0, but is read from its start
            last = (steps[-1:] + 1).clamp(min=self.table_length) - 1
            return x * self.scale, self._encode(last - steps)
        if self.kind is ScaledPositionalEncoding:
            return x + self.alpha * self._encode(steps)
        return x * self.scale + self._encode(steps)

    def _encode(self, steps: torch.Tensor) -> torch.Tensor:
        """Return sines and cosines (1, N, D) of positions (N,)."""
        rates = torch.exp(
            torch.arange(0, self.dim, 2, dtype=torch.float32, device=steps.device)
            * -(math.log(10000.0) / self.dim)
        )
        angles = steps.float()[:, None] * rates
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[None]


class PointwiseLinear(torch.nn.Module):
    """A convolution over single frames, as a linear layer.

    Args:
        convolution: The convolution.
    """

    def __init__(self, convolution: torch.nn.Conv1d):
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    @classmethod
    def of(cls, module: torch.nn.Module) -> "PointwiseLinear | None":
        """Return the replacement of a module, if it is such a convolution."""
        if not isinstance(module, torch.nn.Conv1d) or module.groups > 1:
            return None
        shape = (module.kernel_size, module.stride, module.padding)
        return cls(module) if shape == ((1,), (1,), (0,)) else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C, T) to (B, D, T)."""
        frames, weight = x.transpose(1, 2), self.weight.squeeze(2)
        return torch.nn.functional.linear(frames, weight, self.bias).transpose(1, 2)


_POSITIONS = (
    PositionalEncoding,
    ScaledPositionalEncoding,
    LegacyRelPositionalEncoding,
    RelPositionalEncoding,
)


def traceable_copy[M: torch.nn.Module | None](module: M) -> M:
    """Copy a module, sharing its weights, with positions that can be traced."""
    if module is None:
        return module
    copied = clone_sharing_weights(module, [module])
    replace_children(
        copied, lambda m: TraceablePositions(m) if type(m) in _POSITIONS else None
    )
    return copied


def replace_children(
    module: torch.nn.Module,
    replacement: Callable[[torch.nn.Module], torch.nn.Module | None],
) -> None:
    """Replace the modules within a module for which there is a replacement."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            new = replacement(child)
            if new is not None:
                setattr(parent, name, new)
