"""The ASR teacher: frame-level CTC posteriors of a frozen ASR model."""

import torch
from torch.nn.utils.rnn import pad_sequence

from espnet2.asr.ctc import CTC
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.frozen import FrozenModuleRef
from espnet2_sv.errors import SVError

# Utterances encoded at a time. Larger batches are not faster without gradients, and
# cost memory: the first subsampling convolution of a 512-dimensional encoder takes
# 3 GiB for 256 crops of 3 s.
CHUNK_UTTERANCES = 32


class CtcEncoder(torch.nn.Module):
    """The parts of an ASR model that compute frame-level CTC posteriors."""

    def __init__(self, backbone: BlockBackbone, ctc: CTC):
        super().__init__()
        self.backbone = backbone
        self.ctc = ctc


class Teacher(FrozenModuleRef[CtcEncoder]):
    """Frozen frontend, normalisation, encoder and CTC layer of an ASR model.

    Other parts of the model, such as a decoder, are dropped.

    Args:
        bundle: The ASR model.

    Raises:
        SVError: The ASR model has no CTC layer.
    """

    def __init__(self, bundle: AsrBundle):
        ctc = bundle.model.ctc
        if ctc is None:
            raise SVError(
                f"{bundle.directory}: cannot be the teacher, because it was trained"
                " without CTC (ctc_weight 0) and has no frame-level posteriors; choose"
                " another ASR model"
            )
        super().__init__(CtcEncoder(bundle.backbone(), ctc))
        self.blank = int(bundle.model.blank_id)
        self.weights_sha256 = bundle.weights_sha256

    @property
    def vocab(self) -> int:
        """V, vocabulary size of the CTC layer."""
        return self.frozen_module.ctc.ctc_lo.out_features

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return self.frozen_module.backbone.sample_rate

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second of the posteriors."""
        return self.frozen_module.backbone.frame_rate_hz

    @property
    def padding_sensitive(self) -> bool:
        """Whether posteriors depend on padding."""
        return self.frozen_module.backbone.padding_sensitive

    def encode(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the encoder.

        Args:
            speech: Zero-padded audio (B, S).
            speech_lengths: Valid samples (B,).

        Returns:
            Encoder output (B, T, D) and its valid frames (B,).

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        backbone = self.frozen_module.backbone
        frames: list[torch.Tensor] = []
        lengths: list[torch.Tensor] = []
        with self.inference_context(speech.device):
            for chunk, chunk_lengths in zip(
                speech.split(CHUNK_UTTERANCES),
                speech_lengths.split(CHUNK_UTTERANCES),
                strict=True,
            ):
                features = backbone.features(chunk, chunk_lengths)
                hidden, valid = backbone.encode(*features)
                frames.extend(hidden)
                lengths.append(valid)
            return pad_sequence(frames, batch_first=True), torch.cat(lengths)

    def log_probs(self, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Compute CTC log posteriors.

        Args:
            hidden: Encoder output (B, T, D) from :meth:`encode`.
            temperature: Divides the logits before the softmax.

        Returns:
            Log posteriors (B, T, V) in float32.
        """
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            logits = self.frozen_module.ctc.ctc_lo(hidden.float())
            return (logits / temperature).log_softmax(dim=-1)

    def copy_ctc(self, norm: torch.nn.Module, output: torch.nn.Module) -> None:
        """Copy the weights of the encoder's final LayerNorm and of the CTC layer."""
        final_norm = self.frozen_module.backbone.encoder.after_norm
        norm.load_state_dict(final_norm.state_dict())
        output.load_state_dict(self.frozen_module.ctc.ctc_lo.state_dict())
