"""Audio to normalised log-mel features: the part that all backbones share."""

from typing import TYPE_CHECKING

import torch

from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.legacy.nets.pytorch_backend.nets_utils import make_pad_mask
from espnet2_sv.errors import SVError

if TYPE_CHECKING:
    from espnet2.asr.encoder.abs_encoder import AbsEncoder
    from espnet2.asr.frontend.default import DefaultFrontend
    from espnet2.asr.specaug.abs_specaug import AbsSpecAug


def sample_rate(frontend: "DefaultFrontend") -> int:
    """Sampling rate in Hz that an ESPnet ``DefaultFrontend`` expects."""
    return int(frontend.logmel.mel_options["sr"])


def padding_mask(
    lengths: torch.Tensor, max_length: int, device: torch.device
) -> torch.Tensor:
    """Return a mask (B, max_length) that is True beyond the valid frames (B,).

    It is built on its device, whichever the lengths are on.
    """
    frames = torch.arange(max_length, device=device)
    return frames >= lengths.to(device, non_blocking=True)[:, None]


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

    Subclasses define ``forward``. Frontend and normalisation always run in float32.

    Args:
        frontend: ESPnet's ``DefaultFrontend``.
        normalize: Feature normalisation, or None.
        encoder: Network on top of the features.
        specaug: SpecAugment or similar, applied in training only.
    """

    frontend: "DefaultFrontend"
    normalize: AbsNormalize | None
    encoder: "AbsEncoder"
    specaug: "AbsSpecAug | None"

    def __init__(
        self,
        frontend: "DefaultFrontend",
        normalize: AbsNormalize | None,
        encoder: "AbsEncoder",
        specaug: "AbsSpecAug | None" = None,
    ):
        super().__init__()
        self.frontend = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.encoder = encoder
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
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return sample_rate(self.frontend)

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
        return self.frontend.hop_length

    @property
    def frame_rate_hz(self) -> float:
        """Output frames per second."""
        return self.sample_rate / (self.hop_length * self.subsampling)

    @property
    def minimum_samples(self) -> int:
        """Samples needed for one output frame."""
        between = (self.minimum_frames - 1) * self.hop_length
        if not self.frontend.stft.center:
            return self.frontend.stft.n_fft + between
        return max(between, self._reflection_pad + 1)

    @property
    def _reflection_pad(self) -> int:
        """Samples that a centred STFT mirrors at either end of the audio."""
        return self.frontend.stft.n_fft // 2 if self.frontend.stft.center else 0

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
        return super().train(mode and not self.frozen)

    def features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute normalised features in float32.

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
        with torch.autocast(speech.device.type, enabled=False):
            speech = self.reflect_ends(speech.float(), speech_lengths)
            feats, lengths = self.log_mel(speech, speech_lengths)
            if self.specaug is not None and self.training:
                feats, lengths = self.specaug(feats, lengths)
            if self.normalize is not None:
                on_device = lengths.to(feats.device, non_blocking=True)
                feats, _ = self.normalize(feats, on_device)
        return feats, lengths

    def log_mel(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the features of ESPnet's ``DefaultFrontend``, with its layers.

        The front end itself builds a mask of the spectrum on the CPU in every pass: 38
        MiB for 256 crops of 3 s. The features of padded frames are zero without it, and
        those of valid frames the same.

        Args:
            speech: Audio (B, S).
            lengths: Valid samples (B,), on the CPU.

        Returns:
            Features (B, T', F), where T' is the longest utterance's, and their valid
            frames (B,) on the CPU.
        """
        stft = self.frontend.stft
        spectrum, _ = stft(speech)
        feats, _ = self.frontend.logmel(spectrum[..., 0] ** 2 + spectrum[..., 1] ** 2)
        lengths = self.feature_frames(lengths)
        shortest, longest = int(lengths.min()), int(lengths.max())
        feats = feats[:, :longest]
        if shortest < longest:
            padded_frames = padding_mask(lengths, longest, feats.device)
            feats = feats.masked_fill(padded_frames[..., None], 0.0)
        return feats, lengths

    def feature_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the feature frames (B,) of utterances of so many samples (B,)."""
        padded = samples + 2 * self._reflection_pad - self.frontend.stft.n_fft
        return torch.div(padded, self.hop_length, rounding_mode="floor") + 1

    def reflect_ends(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Apply the STFT's reflection padding at the end of each utterance.

        The frontend reflects only the end of the padded *batch*. The last frames of a
        shorter utterance would contain zeros instead of the reflection, so that its
        embedding would depend on what it is batched with.

        Args:
            speech: Zero-padded audio (B, S).
            lengths: Valid samples (B,).

        Returns:
            Audio (B, S'), where S' has room for the reflection if lengths differ.

        Raises:
            SVError: An utterance is shorter than :attr:`minimum_samples`.
        """
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < self.minimum_samples:
            raise SVError(
                f"an utterance of {shortest} samples is too short: this model needs at"
                f" least {self.minimum_samples}"
                f" ({self.minimum_samples / self.sample_rate:.3f} s)"
            )
        speech = speech[:, :longest]
        if shortest == longest or self._reflection_pad == 0:
            return speech
        end = lengths.unsqueeze(1).to(speech.device, non_blocking=True) - 1
        step = torch.arange(1, self._reflection_pad + 1, device=speech.device)
        reflected = speech.gather(1, end - step)
        return torch.nn.functional.pad(speech, (0, self._reflection_pad)).scatter(
            1, end + step, reflected
        )
