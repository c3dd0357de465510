"""Audio to normalised features: the part that all backbones share."""

from typing import TYPE_CHECKING

import torch

from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.legacy.nets.pytorch_backend.nets_utils import make_pad_mask
from espnet2_sv.backbones.front_ends import FrontEnd, front_end
from espnet2_sv.errors import SVError

if TYPE_CHECKING:
    from espnet2.asr.encoder.abs_encoder import AbsEncoder
    from espnet2.asr.frontend.abs_frontend import AbsFrontend
    from espnet2.asr.preencoder.abs_preencoder import AbsPreEncoder
    from espnet2.asr.specaug.abs_specaug import AbsSpecAug


class StoredMVN(AbsNormalize):
    """Global mean and variance normalisation that needs no statistics file.

    Equivalent to ESPnet's ``GlobalMVN`` and has the same buffers, ``mean`` and ``std``,
    but is initialised to the identity: a checkpoint provides the statistics. The input
    is not modified in place.

    Args:
        dim: Feature dimension F.
        norm_means: Subtract the mean.
        norm_vars: Divide by the standard deviation.
    """

    def __init__(self, dim: int, norm_means: bool = True, norm_vars: bool = True):
        super().__init__()
        self.norm_means = norm_means
        self.norm_vars = norm_vars
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def extra_repr(self) -> str:
        """Return the settings that ``print`` shows."""
        return (
            f"dim={len(self.mean)}, norm_means={self.norm_means},"
            f" norm_vars={self.norm_vars}"
        )

    def forward(
        self, x: torch.Tensor, ilens: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalise features.

        Args:
            x: Features (B, T, F).
            ilens: Valid frames (B,); all T if omitted.

        Returns:
            Normalised features (B, T, F), zero in padded frames, and the lengths (B,).
        """
        if ilens is None:
            ilens = torch.full(
                (x.size(0),), x.size(1), dtype=torch.long, device=x.device
            )
        if self.norm_means:
            x = x - self.mean.to(x.dtype)
        x = x.masked_fill(make_pad_mask(ilens, x, 1), 0.0)
        if self.norm_vars:
            x = x / self.std.to(x.dtype)
        return x, ilens


class FeatureBackbone(torch.nn.Module):
    """Base class of the backbones: frontend, normalisation and an encoder.

    Subclasses define ``forward``. Log-mel features and normalisation always run in
    float32.

    Args:
        frontend: ESPnet's ``DefaultFrontend`` or ``S3prlFrontend``.
        normalize: Feature normalisation, or None.
        encoder: Network on top of the features.
        specaug: SpecAugment or similar, applied in training only.
        preencoder: Network between normalisation and encoder, or None.
    """

    frontend: "AbsFrontend"
    normalize: AbsNormalize | None
    encoder: "AbsEncoder"
    specaug: "AbsSpecAug | None"
    preencoder: "AbsPreEncoder | None"

    def __init__(
        self,
        frontend: "AbsFrontend",
        normalize: AbsNormalize | None,
        encoder: "AbsEncoder",
        specaug: "AbsSpecAug | None" = None,
        preencoder: "AbsPreEncoder | None" = None,
    ):
        super().__init__()
        self.frontend = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.preencoder = preencoder
        self.encoder = encoder
        self.front_end.freeze()
        self.frozen = False
        self._requested_mode = self.training
        self._trainable: set[str] = set()
        self.record_trainable()

    def record_trainable(self) -> None:
        """Remember which parameters are trainable when the backbone is not frozen."""
        self._trainable = {
            name for name, p in self.named_parameters() if p.requires_grad
        }

    @property
    def front_end(self) -> FrontEnd:
        """How ESPnet's front end is used."""
        return front_end(self.frontend)

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return self.front_end.sample_rate

    @property
    def subsampling(self) -> int:
        """Feature frames per output frame."""
        return 1

    @property
    def minimum_frames(self) -> int:
        """Feature frames needed for one output frame."""
        return 1

    @property
    def hop_length(self) -> int:
        """Frame shift of the features in samples."""
        return self.front_end.hop_length

    @property
    def frame_rate_hz(self) -> float:
        """Output frames per second."""
        return self.sample_rate / (self.hop_length * self.subsampling)

    @property
    def minimum_samples(self) -> int:
        """Samples needed for one output frame."""
        return self.front_end.minimum_samples(self.minimum_frames)

    @property
    def one_thread(self) -> bool:
        """Whether it cannot be copied to run in several threads."""
        return self.front_end.one_thread

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or unfreeze the whole backbone.

        A frozen backbone stays in eval mode even after ``train()`` (BatchNorm
        statistics are fixed, dropout is off), has no gradients, and its forward pass
        builds no autograd graph.
        """
        self.frozen = frozen
        for name, parameter in self.named_parameters():
            if name in self._trainable:
                parameter.requires_grad_(not frozen)
        self.train(self._requested_mode)

    def train(self, mode: bool = True) -> "FeatureBackbone":
        """Set training mode; while frozen, it takes effect on unfreezing."""
        self._requested_mode = mode
        super().train(mode and not self.frozen)
        self.front_end.freeze()
        return self

    def features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute what the encoder reads: normalised features, in float32.

        A preencoder and a self-supervised model run in the precision of the caller.

        Args:
            speech: Zero-padded audio (B, S).
            speech_lengths: Valid samples (B,).

        Returns:
            Features (B, T', F), and their valid frames (B,) on the CPU.

        Raises:
            SVError: An utterance is shorter than :attr:`minimum_samples`.
        """
        # What depends on lengths is decided on the CPU, with one copy of them: every
        # value that is read from a GPU makes the CPU wait for it.
        speech_lengths = speech_lengths.cpu()
        self.check_lengths(speech_lengths)
        feats, lengths = self.front_end.features(speech.float(), speech_lengths)
        with torch.autocast(speech.device.type, enabled=False):
            if self.specaug is not None and self.training:
                feats, lengths = self.specaug(feats, lengths)
            if self.normalize is not None:
                on_device = lengths.to(feats.device, non_blocking=True)
                feats, _ = self.normalize(feats, on_device)
        if self.preencoder is not None:
            feats, lengths = self.preencoder(feats, lengths)
        return feats, lengths

    def check_lengths(self, lengths: torch.Tensor) -> None:
        """Check that utterances have enough samples (B,).

        Raises:
            SVError: One is shorter than :attr:`minimum_samples`.
        """
        shortest, least = int(lengths.min()), self.minimum_samples
        if shortest < least:
            raise SVError(
                f"an utterance of {shortest} samples is too short: this model needs at"
                f" least {least} ({least / self.sample_rate:.3f} s)"
            )
