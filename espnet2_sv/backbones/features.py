"""From audio to normalised features: the part that all speech networks here have in common."""

from typing import TYPE_CHECKING

import torch

from espnet2_sv.errors import SVError

if TYPE_CHECKING:
    from espnet2.asr.encoder.abs_encoder import AbsEncoder
    from espnet2.asr.frontend.default import DefaultFrontend
    from espnet2.asr.specaug.abs_specaug import AbsSpecAug
    from espnet2.layers.abs_normalize import AbsNormalize


def sample_rate(frontend: "DefaultFrontend") -> int:
    """Sampling rate of the audio that a ``DefaultFrontend`` expects, in Hz."""
    return int(frontend.logmel.mel_options["sr"])


class FeatureBackbone(torch.nn.Module):
    """A network that reads log-mel features of audio; what reads them is up to the subclass.

    The front end and normalisation always run in float32.

    Args:
        frontend: ESPnet's ``DefaultFrontend``.
        normalize: Feature normalisation, or None.
        encoder: What reads the features.
        specaug: Augmentation of the features, used in training only.
    """

    frontend: "DefaultFrontend"
    normalize: "AbsNormalize | None"
    encoder: "AbsEncoder"
    specaug: "AbsSpecAug | None"

    def __init__(
        self,
        frontend: "DefaultFrontend",
        normalize: "AbsNormalize | None",
        encoder: "AbsEncoder",
        specaug: "AbsSpecAug | None" = None,
    ):
        super().__init__()
        self.frontend = frontend
        self.specaug = specaug
        self.normalize = normalize
        self.encoder = encoder
        self.frozen = False
        self._wanted_mode = self.training
        self._trainable: set[str] = set()
        self.note_trainable()

    def note_trainable(self) -> None:
        """Note which parameters get gradients whenever this network is not frozen."""
        self._trainable = {
            name for name, p in self.named_parameters() if p.requires_grad
        }

    @property
    def sample_rate(self) -> int:
        """Sampling rate of the audio, in Hz."""
        return sample_rate(self.frontend)

    @property
    def subsampling(self) -> int:
        """Feature frames per frame of the outputs."""
        return 1

    @property
    def minimum_frames(self) -> int:
        """The fewest feature frames that give a frame of output."""
        return 1

    @property
    def hop_length(self) -> int:
        """Samples from one feature frame to the next."""
        return self.frontend.hop_length

    @property
    def frame_rate_hz(self) -> float:
        """Frames of the outputs per second."""
        return self.sample_rate / (self.hop_length * self.subsampling)

    @property
    def minimum_samples(self) -> int:
        """The shortest audio that gives one frame of output, in samples."""
        between = (self.minimum_frames - 1) * self.hop_length
        if not self.frontend.stft.center:
            return self.frontend.stft.n_fft + between
        return max(between, self._reflected + 1)

    @property
    def _reflected(self) -> int:
        """Samples mirrored at either end of the audio, so that frames are centred."""
        return self.frontend.stft.n_fft // 2 if self.frontend.stft.center else 0

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or unfreeze.

        Frozen means evaluation mode whatever ``train()`` says (BatchNorm statistics
        rest, dropout is off), no gradients, and a forward pass that builds no graph.
        """
        self.frozen = frozen
        for name, parameter in self.named_parameters():
            if name in self._trainable:
                parameter.requires_grad_(not frozen)
        self.train(self._wanted_mode)

    def train(self, mode: bool = True) -> "FeatureBackbone":
        """Set training mode; while frozen, the mode is only noted for later."""
        self._wanted_mode = mode
        return super().train(mode and not self.frozen)

    def features(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio (B, S) to normalised features (B, T', F) and their lengths (B,), in float32."""
        with torch.autocast(speech.device.type, enabled=False):
            speech = self.pad_ends(speech.float(), speech_lengths)
            feats, lengths = self.frontend(speech, speech_lengths)
            feats = feats[:, : int(lengths.max())]
            if self.specaug is not None and self.training:
                feats, lengths = self.specaug(feats, lengths)
            if self.normalize is not None:
                feats, lengths = self.normalize(feats, lengths)
        return feats, lengths

    def pad_ends(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Continue every utterance as the front end continues one that stands alone.

        The front end mirrors the end of the *batch*. A shorter utterance would see its
        zero padding in the last frames instead, and its embedding would change with its
        neighbours.
        """
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < self.minimum_samples:
            raise SVError(
                f"an utterance of {shortest} samples is too short: this model needs"
                f" {self.minimum_samples}"
                f" ({self.minimum_samples / self.sample_rate:.3f} s)"
            )
        speech = speech[:, :longest]
        if shortest == longest or self._reflected == 0:
            return speech
        end = lengths.unsqueeze(1).to(speech.device) - 1
        step = torch.arange(1, self._reflected + 1, device=speech.device)
        mirrored = speech.gather(1, end - step)
        return torch.nn.functional.pad(speech, (0, self._reflected)).scatter(
            1, end + step, mirrored
        )
