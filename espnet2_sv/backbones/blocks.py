"""Frontend, normalisation and encoder of an ASR model with all block outputs."""

import contextlib
import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from espnet2.asr.ctc import CTC
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.encoder.branchformer_encoder import BranchformerEncoder
from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
from espnet2.asr.encoder.e_branchformer_ctc_encoder import EBranchformerCTCEncoder
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder
from espnet2.asr.encoder.multiconvformer_encoder import MultiConvConformerEncoder
from espnet2.asr.encoder.transformer_encoder import TransformerEncoder
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.preencoder.abs_preencoder import AbsPreEncoder
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
from espnet2_sv.backbones.block_runs import BlockRun, block_run
from espnet2_sv.backbones.features import FeatureBackbone
from espnet2_sv.backbones.front_ends import padding_mask
from espnet2_sv.errors import SVError

# ESPnet encoders that are a stack of blocks, by their --encoder name
BLOCK_ENCODERS = {
    "conformer": ConformerEncoder,
    "e_branchformer": EBranchformerEncoder,
    "e_branchformer_ctc": EBranchformerCTCEncoder,  # of OWSM-CTC
    "branchformer": BranchformerEncoder,
    "transformer": TransformerEncoder,
    "multiconv_conformer": MultiConvConformerEncoder,
}
# Those whose CTC feedback does not pass the final norm
_FEEDBACK_WITHOUT_NORM = (EBranchformerEncoder, EBranchformerCTCEncoder)
# Input frames per output frame, by the name of ESPnet's subsampling class
_SUBSAMPLING = {
    "Conv1dSubsampling2": 2,
    "Conv1dSubsampling3": 3,
    "Conv2dSubsampling": 4,
    "Conv2dSubsampling2": 2,
    "Conv2dSubsampling6": 6,
    "Conv2dSubsampling8": 8,
}
# Layers without a padding mask
_PADDING_SENSITIVE_LAYERS = (
    LegacyRelPositionMultiHeadedAttention,
    ConvolutionalPositionalEmbedding,
    MultiLayeredConv1d,
    Conv1dLinear,
)
# Frames; no subsampling needs as many for one output frame
_MAX_MINIMUM_FRAMES = 64


def subsampling(encoder: AbsEncoder) -> int:
    """Feature frames per output frame of an ESPnet encoder."""
    return _SUBSAMPLING.get(type(encoder.embed).__name__, 1)


class BlockBackbone(FeatureBackbone):
    """Audio to the outputs of all encoder blocks.

    Log-mel features and normalisation always run in float32. The outputs of an
    utterance do not depend on what it is batched with, except for models that are
    :attr:`padding_sensitive`: batch only utterances of equal length for those.

    Args:
        frontend: ESPnet's ``DefaultFrontend`` or ``S3prlFrontend``.
        normalize: Feature normalisation, or None.
        encoder: ESPnet encoder with a stack of blocks in ``encoders``. Layer drop is
            disabled in it, because the head needs every block's output.
        specaug: SpecAugment or similar, applied in training only.
        ctc: CTC layer of an encoder with self-conditioned CTC (Nozaki & Komatsu 2021);
            ignored for other encoders.
        preencoder: Network between normalisation and encoder, or None.

    Attributes:
        grad_checkpointing: In training, keep only the outputs of blocks for the
            backward pass, which computes the rest again (Chen et al. 2016). Outputs,
            gradients and BatchNorm statistics are the same.
    """

    def __init__(
        self,
        frontend: AbsFrontend,
        normalize: AbsNormalize | None,
        encoder: AbsEncoder,
        specaug: AbsSpecAug | None = None,
        ctc: CTC | None = None,
        preencoder: AbsPreEncoder | None = None,
    ):
        super().__init__(frontend, normalize, encoder, specaug, preencoder)
        self.ctc = ctc if self._conditioned else None
        self.grad_checkpointing = False
        self._runs: list[BlockRun] = []  # of the encoder's blocks, not submodules
        for module in (encoder, encoder.encoders):
            if hasattr(module, "layer_drop_rate"):
                module.layer_drop_rate = 0.0
        if hasattr(encoder, "after_norm") and not self._uses_final_norm:
            encoder.after_norm.requires_grad_(False)
        self.record_trainable()

    @property
    def _conditioned(self) -> bool:
        return bool(getattr(self.encoder, "interctc_use_conditioning", False))

    @cached_property
    def _takes_mask(self) -> bool:
        """Whether the encoder takes a padding mask instead of building it."""
        return "masks" in inspect.signature(self.encoder.forward).parameters

    @property
    def _uses_final_norm(self) -> bool:
        """Whether block outputs depend on the LayerNorm after the last block."""
        return self._conditioned and not isinstance(
            self.encoder, _FEEDBACK_WITHOUT_NORM
        )

    @property
    def num_blocks(self) -> int:
        """L, number of blocks."""
        return len(self.encoder.encoders)

    @property
    def prefix_frames(self) -> int:
        """Frames that the encoder puts before those of the speech."""
        return 0

    @property
    def block_dim(self) -> int:
        """D, dimension of a block output."""
        return self.encoder.output_size()

    @property
    def subsampling(self) -> int:
        """Feature frames per encoder frame."""
        return subsampling(self.encoder)

    @property
    def padding_sensitive(self) -> bool:
        """Whether outputs depend on padding; if so, batch only equal lengths.

        True for self-supervised front ends, for ESPnet's legacy relative positions, and
        for encoders that use a convolution over time as position encoding or
        feed-forward layer.
        """
        if self.front_end.padding_sensitive:
            return True
        modules = self.encoder.modules()
        return any(isinstance(m, _PADDING_SENSITIVE_LAYERS) for m in modules)

    @property
    def minimum_frames(self) -> int:
        """Feature frames needed for one encoder frame."""
        sizes = range(1, _MAX_MINIMUM_FRAMES)
        return next(n for n in sizes if not check_short_utt(self.encoder.embed, n)[0])

    def output_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the encoder frames (B,) of utterances of so many samples (B,)."""
        frames = self.front_end.frames(samples)
        for layer in self.encoder.embed.modules():
            if isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d):  # along time
                kernel, stride = layer.kernel_size[0], layer.stride[0]
                frames = (frames - kernel) // stride + 1
        return frames

    def first_blocks(self, num_blocks: int) -> "BlockBackbone":
        """Return a backbone that ends after some block, for early exit.

        It shares all modules with this one, which stays as it is; its outputs are those
        of the first blocks here.

        Args:
            num_blocks: Blocks to run, 1 to L.
        """
        view = _shallow_copy(self)
        view.encoder = _shallow_copy(self.encoder)
        view.encoder.encoders = self.encoder.encoders[:num_blocks]
        return view

    def parameter_groups(self) -> list[tuple[int, list[torch.nn.Parameter]]]:
        """Trainable parameters by depth, for layer-wise learning rate decay.

        Returns:
            ``(depth, parameters)`` pairs. Depth 0 is everything below the first block,
            depths 1 to L are the blocks. The CTC feedback of a self-conditioned encoder
            has the depth of the first block that it follows.
        """
        groups: dict[int, list] = {depth: [] for depth in range(self.num_blocks + 1)}
        for name, parameter in self.named_parameters():
            if name in self._trainable:
                groups[self._depth(name)].append(parameter)
        return [(depth, group) for depth, group in groups.items() if group]

    def _depth(self, name: str) -> int:
        # e.g. encoder.encoders.3.conv_module.norm.weight has depth 4
        if name.startswith("encoder.encoders."):
            return int(name.split(".")[2]) + 1
        feedback = ("encoder.conditioning_layer.", "encoder.after_norm.", "ctc.")
        if name.startswith(feedback):
            return min(self.encoder.interctc_layer_idx)
        return 0

    def forward(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Run the encoder and return every block's output.

        Args:
            speech: Zero-padded audio (B, S).
            speech_lengths: Valid samples (B,).

        Returns:
            L block outputs, each (B, T, D), and their valid frames (B,) on the CPU.

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            feats, lengths = self.features(speech, speech_lengths)
            return self.blocks(feats, lengths)

    def blocks(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Encode features and return every block's output.

        Args:
            feats: Normalised features (B, T', F).
            lengths: Valid feature frames (B,).

        Returns:
            L block outputs, each (B, T, D), and their valid frames (B,) on the CPU.

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        encoder = self._running_encoder(feats, lengths)
        with record_block_outputs(encoder) as outputs:
            _, lengths = self._encode(encoder, feats, lengths)
        return [self.without_prefix(frames) for frames in outputs], lengths

    def without_prefix(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the frames of the speech (B, T, D) among all of the encoder's."""
        return frames[:, self.prefix_frames :] if self.prefix_frames else frames

    def encode(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode features and return the encoder's output, the input of the CTC layer.

        Args:
            feats: Normalised features (B, T', F), where T' is the longest utterance's.
            lengths: Valid feature frames (B,).

        Returns:
            Encoder output (B, T, D), and its valid frames (B,) on the CPU.

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        return self._encode(self._running_encoder(feats, lengths), feats, lengths)

    def _encode(
        self, encoder: AbsEncoder, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = lengths.cpu()
        if not torch.is_autocast_enabled(feats.device.type):
            self._drop_rounded_positions()
        try:
            hidden, frames = self.run_encoder(encoder, feats, lengths)
        except TooShortUttError as e:
            raise SVError(
                f"an utterance of {e.actual_size} feature frames is too short: this"
                f" model needs at least {e.limit}"
            ) from e
        hidden = self.without_prefix(hidden)
        if all_valid(feats, lengths):  # no need to wait for the GPU
            return hidden, torch.full_like(lengths, hidden.size(1))
        return hidden, frames.cpu() - self.prefix_frames

    def run_encoder(
        self, encoder: AbsEncoder, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run ESPnet's encoder.

        Args:
            encoder: :attr:`encoder` or a view of it.
            feats: Normalised features (B, T', F).
            lengths: Valid feature frames (B,), on the CPU.

        Returns:
            Encoder output (B, T, D), :attr:`prefix_frames` included, and its valid
            frames (B,).

        Raises:
            TooShortUttError: An utterance is too short for one encoder frame.
        """
        options: dict[str, Any] = {"ctc": self.ctc} if self._conditioned else {}
        if self._takes_mask:  # which it would otherwise copy from the CPU
            unused = encoder is not self.encoder and self._runs[0].mask_unused
            device = torch.device("cpu") if unused else feats.device
            options["masks"] = padding_mask(lengths, feats.size(1), device)
        hidden, frames, *_ = encoder(feats, lengths, **options)
        # With intermediate CTC layers: (hidden, [(block, hidden), ...])
        return hidden[0] if isinstance(hidden, tuple) else hidden, frames

    def _running_encoder(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> AbsEncoder:
        """Return the encoder, or a view of it whose blocks are run otherwise.

        The view shares all modules with the encoder, which stays as it is.
        """
        checkpointed = self.grad_checkpointing and self.training
        if not checkpointed and not torch.is_autocast_enabled(feats.device.type):
            return self.encoder
        blocks = self.encoder.encoders
        if [run.block for run in self._runs] != list(blocks):
            self._runs = [block_run(block) for block in blocks]
        unused = all_valid(feats, lengths) and not any(r.needs_mask for r in self._runs)
        for run in self._runs:
            run.mask_unused, run.checkpointed = unused, checkpointed
        view = _shallow_copy(self.encoder)
        view.encoders = _shallow_copy(blocks)
        view.encoders._modules = dict(zip(blocks._modules, self._runs, strict=True))
        return view

    def _drop_rounded_positions(self) -> None:
        """Let the encoder compute its table of positions anew if it is not in float32.

        ESPnet keeps one table, in the precision of the last call: after a step of mixed
        precision, that of float32 would be the one rounded to bfloat16.
        """
        for module in self.encoder.embed.modules():
            table = getattr(module, "pe", None)
            if isinstance(table, torch.Tensor) and table.dtype != torch.float32:
                module.pe = None


def all_valid(feats: torch.Tensor, lengths: torch.Tensor) -> bool:
    """Whether features (B, T, F) of so many valid frames (B,) have no padding."""
    return int(lengths.min()) == feats.size(1)


def _shallow_copy[M: torch.nn.Module](module: M) -> M:
    """Copy a module such that its children can be replaced, but are the same."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied


@contextlib.contextmanager
def record_block_outputs(encoder: AbsEncoder) -> Iterator[list[torch.Tensor]]:
    """Record block outputs (B, T, D) with forward hooks while the context is open."""
    outputs: list[torch.Tensor] = []

    def record(module, args, output):
        hidden = output[0]  # with relative positions: (hidden, positions)
        outputs.append(hidden[0] if isinstance(hidden, tuple) else hidden)

    handles = [block.register_forward_hook(record) for block in encoder.encoders]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class EncoderPass:
    """Outputs of one forward pass of an encoder.

    Attributes:
        blocks: L block outputs, each (B, T, D).
        lengths: Valid frames (B,); None before the forward pass.
    """

    blocks: list[torch.Tensor] = field(default_factory=list)
    lengths: torch.Tensor | None = None


@contextlib.contextmanager
def capture_blocks(backbone: BlockBackbone) -> Iterator[EncoderPass]:
    """Capture the block outputs of one forward pass that ESPnet's own code runs.

    Meant for calls such as ``Speech2Text``. They compute what they would without the
    context, except that in a padded batch the end of a shorter utterance is treated as
    in a batch of one, see :meth:`~espnet2_sv.backbones.front_ends.LogMel.extend`.

    Args:
        backbone: Backbone that shares the ASR model's modules, from
            ``AsrBundle.backbone()``.

    Yields:
        The encoder pass, filled in by the forward pass.

    Raises:
        SVError: An utterance is too short for the encoder.
    """
    captured = EncoderPass()

    def extend(frontend, args):
        speech, lengths = args
        backbone.check_lengths(lengths)
        return backbone.front_end.extend(speech, lengths), lengths

    def trim(frontend, args, output):
        feats, lengths = output
        return feats[:, : int(lengths.max())], lengths

    def record_lengths(encoder, args, output):
        captured.lengths = output[1] - backbone.prefix_frames

    handles = [
        backbone.frontend.register_forward_pre_hook(extend),
        backbone.frontend.register_forward_hook(trim),
        backbone.encoder.register_forward_hook(record_lengths),
    ]
    try:
        with record_block_outputs(backbone.encoder) as outputs:
            yield captured
        captured.blocks = [backbone.without_prefix(frames) for frames in outputs]
    finally:
        for handle in handles:
            handle.remove()
