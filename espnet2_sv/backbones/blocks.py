"""The front end, normalisation and encoder of an ASR model, read block by block."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.encoder.branchformer_encoder import BranchformerEncoder
from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
from espnet2.asr.encoder.multiconvformer_encoder import MultiConvConformerEncoder
from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.legacy.nets.pytorch_backend.transformer.attention import (
    LegacyRelPositionMultiHeadedAttention,
)
from espnet2.legacy.nets.pytorch_backend.transformer.embedding import (
    ConvolutionalPositionalEmbedding,
)
from espnet2.legacy.nets.pytorch_backend.transformer.multi_layer_conv import (
    Conv1dLinear,
    MultiLayeredConv1d,
)
from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (
    TooShortUttError,
    check_short_utt,
)

from espnet2_sv.backbones.features import FeatureBackbone
from espnet2_sv.errors import SVError

# ESPnet's encoders that are a stack of blocks, by the name that --encoder gives them
BLOCK_ENCODERS = {
    "conformer": ConformerEncoder,
    "e_branchformer": EBranchformerEncoder,
    "branchformer": BranchformerEncoder,
    "transformer": TransformerEncoder,
    "multiconv_conformer": MultiConvConformerEncoder,
}
# frames in per frame out, by the name of ESPnet's subsampling class
_SUBSAMPLING = {
    "Conv1dSubsampling2": 2,
    "Conv1dSubsampling3": 3,
    "Conv2dSubsampling": 4,
    "Conv2dSubsampling2": 2,
    "Conv2dSubsampling6": 6,
    "Conv2dSubsampling8": 8,
}
_READS_PADDING = (
    LegacyRelPositionMultiHeadedAttention,
    ConvolutionalPositionalEmbedding,
    MultiLayeredConv1d,
    Conv1dLinear,
)
_LONGEST_SUBSAMPLING_INPUT = (
    64  # frames; above what any subsampling needs for one output frame
)


def subsampling(encoder: AbsEncoder) -> int:
    """Feature frames per frame of an ESPnet encoder."""
    return _SUBSAMPLING.get(type(encoder.embed).__name__, 1)


class BlockBackbone(FeatureBackbone):
    """From audio to the output of every encoder block.

    The front end and normalisation always run in float32. An utterance's outputs do not
    depend on what it is batched with, unless :attr:`padding_sensitive` says so: then
    only utterances of equal length may share a batch.

    Args:
        frontend: ESPnet's ``DefaultFrontend``.
        normalize: Feature normalisation, or None.
        encoder: An ESPnet encoder with a stack of blocks in ``encoders``; dropping
            whole blocks at random is switched off in it, because every block is read.
        specaug: Augmentation of the features, used in training only.
        ctc: The CTC layer that a self-conditioned encoder feeds back.
    """

    def __init__(
        self,
        frontend: DefaultFrontend,
        normalize: AbsNormalize | None,
        encoder: AbsEncoder,
        specaug: AbsSpecAug | None = None,
        ctc: CTC | None = None,
    ):
        super().__init__(frontend, normalize, encoder, specaug)
        self.ctc = ctc if self._conditioned else None
        for module in (encoder, encoder.encoders):
            if hasattr(module, "layer_drop_rate"):
                module.layer_drop_rate = 0.0
        if hasattr(encoder, "after_norm") and not self._reads_final_norm:
            encoder.after_norm.requires_grad_(False)
        self.note_trainable()

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
    def subsampling(self) -> int:
        """Feature frames per encoder frame."""
        return subsampling(self.encoder)

    @property
    def padding_sensitive(self) -> bool:
        """Whether outputs depend on padding, so that only equal lengths may share a batch.

        So it is with ESPnet's legacy relative positions, and where a convolution over
        time takes the place of positions or of a feed-forward layer.
        """
        return any(isinstance(m, _READS_PADDING) for m in self.encoder.modules())

    @property
    def minimum_frames(self) -> int:
        """The fewest feature frames that give one encoder frame."""
        sizes = range(1, _LONGEST_SUBSAMPLING_INPUT)
        return next(n for n in sizes if not check_short_utt(self.encoder.embed, n)[0])

    def parameter_groups(self) -> list[tuple[int, list[torch.nn.Parameter]]]:
        """Trainable parameters by depth, for learning rates that decay with depth.

        Returns:
            ``(depth, parameters)``: depth 0 is everything below the first block, 1 to L
                the
            blocks. What a self-conditioned encoder feeds back belongs to the block
            before it.
        """
        groups: dict[int, list] = {depth: [] for depth in range(self.num_blocks + 1)}
        for name, parameter in self.named_parameters():
            if name in self._trainable:
                groups[self._depth(name)].append(parameter)
        return [
            (depth, parameters) for depth, parameters in groups.items() if parameters
        ]

    def _depth(self, name: str) -> int:
        if name.startswith(
            "encoder.encoders."
        ):  # e.g. encoder.encoders.3.conv_module.norm.weight
            return int(name.split(".")[2]) + 1
        if name.startswith(
            ("encoder.conditioning_layer.", "encoder.after_norm.", "ctc.")
        ):
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

    def blocks(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Features (B, T', F) to the L block outputs, each (B, T, D), and their lengths (B,)."""
        with read_blocks(self.encoder) as outputs:
            _, lengths = self.encode(feats, lengths)
        return outputs, lengths

    def encode(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, T', F) to what the CTC layer reads, (B, T, D), and its lengths (B,)."""
        options = {"ctc": self.ctc} if self._conditioned else {}
        try:
            hidden, lengths, *_ = self.encoder(feats, lengths, **options)
        except TooShortUttError as e:
            raise SVError(
                f"an utterance of {e.actual_size} feature frames is too short: this"
                f" model needs {e.limit}"
            ) from e
        # with intermediate CTC layers (hidden, [(block, hidden), ...])
        return (hidden[0] if isinstance(hidden, tuple) else hidden), lengths


@contextlib.contextmanager
def read_blocks(encoder: AbsEncoder) -> Iterator[list[torch.Tensor]]:
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


@dataclass
class EncoderPass:
    """What one call of an encoder left behind.

    Attributes:
        blocks: L block outputs, each (B, T, D).
        lengths: Their valid frames (B,).
    """

    blocks: list[torch.Tensor] = field(default_factory=list)
    lengths: torch.Tensor | None = None


@contextlib.contextmanager
def capture_blocks(backbone: BlockBackbone) -> Iterator[EncoderPass]:
    """Collect the block outputs of the encoder call that is made while the context is open.

    The call is ESPnet's own, for example within ``Speech2Text``; nothing that it
    computes changes, with one exception: in a padded batch the front end sees the end
        of a shorter utterance as it
    sees that of one that stands alone, see :meth:`BlockBackbone.pad_ends`.

    Args:
        backbone: The ASR model's own modules, as :meth:`AsrBundle.backbone` gives them.

    Raises:
        SVError: An utterance is too short for the encoder.
    """
    captured = EncoderPass()

    def pad(frontend, args):
        speech, lengths = args
        return backbone.pad_ends(speech, lengths), lengths

    def trim(frontend, args, output):
        feats, lengths = output
        return feats[:, : int(lengths.max())], lengths

    def note_lengths(encoder, args, output):
        captured.lengths = output[1]

    handles = [
        backbone.frontend.register_forward_pre_hook(pad),
        backbone.frontend.register_forward_hook(trim),
        backbone.encoder.register_forward_hook(note_lengths),
    ]
    try:
        with read_blocks(backbone.encoder) as captured.blocks:
            yield captured
    finally:
        for handle in handles:
            handle.remove()
