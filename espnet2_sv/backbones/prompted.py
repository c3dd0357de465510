"""Block outputs of the encoder of OWSM-CTC, which also reads a prompt."""

from typing import Any

import torch

from espnet2.asr.ctc import CTC
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.encoder.e_branchformer_ctc_encoder import EBranchformerCTCEncoder
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.preencoder.abs_preencoder import AbsPreEncoder
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (
    TooShortUttError,
    check_short_utt,
)
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.front_ends import padding_mask

PREFIX_FRAMES = 2  # language and task


class Prompt(torch.nn.Module):
    """What an OWSM-CTC encoder reads besides features (Peng et al. 2024).

    For given symbols these are constants, so that neither the embeddings of the
    vocabulary nor the prompt encoder is needed.

    Args:
        prefix: P vectors (P, D) put before the frames, of language and task.
        memory: M vectors (M, D) that the cross-attention reads, of the previous text.
    """

    def __init__(self, prefix: torch.Tensor, memory: torch.Tensor):
        super().__init__()
        self.prefix = torch.nn.Parameter(prefix)
        self.memory = torch.nn.Parameter(memory)

    @classmethod
    def random(cls, dim: int) -> "Prompt":
        """Return a prompt with random weights.

        Args:
            dim: D.
        """
        return cls(torch.randn(PREFIX_FRAMES, dim), torch.randn(1, dim))

    def forward(self, feats: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return prefix (B, P, D) and memory (B, M, D) for features (B, T', F)."""
        kind = feats.device.type
        dtype = feats.dtype
        if torch.is_autocast_enabled(kind):  # as of the frames that it is put before
            dtype = torch.get_autocast_dtype(kind)
        prefix, memory = self.prefix.to(dtype), self.memory.to(dtype)
        size = feats.size(0)
        return prefix.expand(size, -1, -1), memory.expand(size, -1, -1)


class PromptedBackbone(BlockBackbone):
    """Audio to the outputs of all blocks of an encoder that reads a prompt.

    Outputs have no frames of the prompt's prefix.

    Args:
        frontend: ESPnet's ``DefaultFrontend`` or ``S3prlFrontend``.
        normalize: Feature normalisation, or None.
        encoder: ESPnet's encoder of OWSM-CTC.
        prompt: What it reads besides features.
        specaug: SpecAugment or similar, applied in training only.
        ctc: CTC layer, for self-conditioned CTC.
        preencoder: Network between normalisation and encoder, or None.
    """

    encoder: EBranchformerCTCEncoder
    prompt: Prompt

    def __init__(
        self,
        frontend: AbsFrontend,
        normalize: AbsNormalize | None,
        encoder: EBranchformerCTCEncoder,
        prompt: Prompt,
        specaug: AbsSpecAug | None = None,
        ctc: CTC | None = None,
        preencoder: AbsPreEncoder | None = None,
    ):
        super().__init__(frontend, normalize, encoder, specaug, ctc, preencoder)
        self.prompt = prompt
        if all(block.cross_attn is None for block in encoder.encoders):
            prompt.memory.requires_grad_(False)  # no block reads it
        self.record_trainable()

    @property
    def prefix_frames(self) -> int:
        """P, frames that the encoder puts before those of the speech."""
        return len(self.prompt.prefix)

    def run_encoder(
        self, encoder: AbsEncoder, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Do what the encoder's ``forward`` does, with a mask made on its device.

        That ``forward`` makes the mask on the CPU, so that a GPU waits for it.

        Args:
            encoder: :attr:`encoder` or a view of it.
            feats: Normalised features (B, T', F).
            lengths: Valid feature frames (B,), on the CPU.

        Returns:
            Encoder output (B, P + T, D), and its valid frames (B,), P included.

        Raises:
            TooShortUttError: An utterance is too short for one encoder frame.
        """
        assert isinstance(encoder, EBranchformerCTCEncoder)
        too_short, limit = check_short_utt(encoder.embed, feats.size(1))
        if too_short:
            raise TooShortUttError("", feats.size(1), limit)
        prefix, memory = self.prompt(feats)
        mask = ~padding_mask(lengths, feats.size(1), feats.device)[:, None]
        hidden: Any  # or a tuple with the positions
        hidden, mask = encoder.embed(feats, mask, prefix)
        for depth, block in enumerate(encoder.encoders, start=1):
            hidden, mask = block(hidden, mask, memory=memory)
            if self.ctc is not None and depth in encoder.interctc_layer_idx:
                x, *positions = hidden if isinstance(hidden, tuple) else (hidden,)
                x = x + encoder.conditioning_layer(self.ctc.softmax(x))
                hidden = (x, *positions) if positions else x
        x = hidden[0] if isinstance(hidden, tuple) else hidden
        return encoder.after_norm(x), mask.squeeze(1).sum(1)
