"""The encoders of ESPnet's speaker models as backbones with a single block."""

import contextlib

import torch

from espnet2.spk.encoder.ecapa_tdnn_encoder import EcapaTdnnEncoder
from espnet2.spk.encoder.resnet_encoder import ResNetEncoder
from espnet2.spk.encoder.ska_tdnn_encoder import SkaTdnnEncoder
from espnet2_sv.backbones.features import FeatureBackbone
from espnet2_sv.errors import SVError

FRAME_ENCODERS = {
    "ecapa_tdnn": EcapaTdnnEncoder,
    "resnet": ResNetEncoder,
    "ska_tdnn": SkaTdnnEncoder,
}
# Feature frames per output frame: the product of the encoder's strides over time. All
# convolutions are padded, so each outputs ceil(frames / stride) frames.
_SUBSAMPLING = {EcapaTdnnEncoder: 1, ResNetEncoder: 8, SkaTdnnEncoder: 2}


class FrameBackbone(FeatureBackbone):
    """Audio to the frames of ECAPA-TDNN, ResNet or SKA-TDNN, as a single block.

    These encoders average over all frames including padding, so a batch may only hold
    utterances of equal length.
    """

    num_blocks = 1
    padding_sensitive = True  # outputs depend on padding

    @property
    def block_dim(self) -> int:
        """C, channels of a frame."""
        return self.encoder.output_size()

    @property
    def subsampling(self) -> int:
        """Feature frames per output frame."""
        return _SUBSAMPLING[type(self.encoder)]

    def parameter_groups(self) -> list[tuple[int, list[torch.nn.Parameter]]]:
        """Trainable parameters, all with depth 1."""
        return [
            (1, [p for name, p in self.named_parameters() if name in self._trainable])
        ]

    def forward(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Run the encoder.

        Args:
            speech: Audio (B, S).
            speech_lengths: Valid samples (B,), all equal.

        Returns:
            A list with the one output (B, T, C), and its valid frames (B,) on the CPU.

        Raises:
            SVError: The lengths differ, or the utterances are too short.
        """
        speech_lengths = speech_lengths.cpu()
        if int(speech_lengths.min()) < int(speech_lengths.max()):
            raise SVError(
                f"{type(self.encoder).__name__} is padding-sensitive: batch utterances"
                " of equal length"
            )
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            feats, lengths = self.features(speech, speech_lengths)
            frames = self.encoder(feats).transpose(1, 2)
        return [frames], torch.full_like(lengths, frames.size(1))
