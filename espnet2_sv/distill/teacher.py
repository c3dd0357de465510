"""The ASR teacher: frame-level CTC posteriors of a frozen ASR model."""

import torch

from espnet2.asr.ctc import CTC
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.asr.prompt import prompt_symbols
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.frozen import FrozenModuleRef
from espnet2_sv.distill.kd_loss import output_logits
from espnet2_sv.errors import SVError

# Utterances that a CPU encodes at a time. Larger batches are not faster without
# gradients, and cost memory.
CPU_CHUNK_UTTERANCES = 32
# Padded seconds that a GPU encodes at a time: 256 crops of 3 s. Smaller chunks leave it
# waiting for kernels to be launched. The output of a 512-dimensional encoder's first
# subsampling convolution then takes 3 GiB in float32, half of that in bfloat16.
CHUNK_SECONDS = 768.0


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
        lang_sym: Symbol for the language that an OWSM-CTC encoder reads; see
            :func:`espnet2_sv.asr.prompt.prompt_symbols`.
        task_sym: Symbol for the task, likewise.

    Attributes:
        symbols: ``lang_sym`` and ``task_sym``; None for an encoder that reads none.

    Raises:
        SVError: The ASR model has no CTC layer, or lacks a symbol.
    """

    def __init__(
        self,
        bundle: AsrBundle,
        lang_sym: str | None = None,
        task_sym: str | None = None,
    ):
        ctc = bundle.model.ctc
        if ctc is None:
            raise SVError(
                f"{bundle.directory}: cannot be the teacher, because it was trained"
                " without CTC (ctc_weight 0) and has no frame-level posteriors; choose"
                " another ASR model"
            )
        symbols = prompt_symbols(bundle.args, lang_sym, task_sym)
        super().__init__(CtcEncoder(bundle.backbone(**symbols), ctc))
        self.symbols = symbols
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
        """Run the encoder, in the precision of the caller.

        Args:
            speech: Zero-padded audio (B, S).
            speech_lengths: Valid samples (B,).

        Returns:
            Encoder output (B, T, D), and its valid frames (B,) on the CPU.

        Raises:
            SVError: An utterance is too short for one encoder frame.
        """
        backbone = self.in_autocast(self.frozen_module.backbone, speech.device)
        frames: list[torch.Tensor] = []
        lengths: list[torch.Tensor] = []
        size = self.chunk_size(speech)
        with torch.no_grad():
            for chunk, chunk_lengths in zip(
                speech.split(size), speech_lengths.cpu().split(size), strict=True
            ):
                features = backbone.features(chunk, chunk_lengths)
                hidden, valid = backbone.encode(*features)
                frames.append(hidden)
                lengths.append(valid)
            return concatenate(frames), torch.cat(lengths)

    def chunk_size(self, speech: torch.Tensor) -> int:
        """Return the number of utterances of a batch (B, S) to encode at a time."""
        if speech.device.type == "cpu":
            return CPU_CHUNK_UTTERANCES
        seconds = speech.size(1) / self.sample_rate
        return max(1, int(CHUNK_SECONDS / seconds))

    def log_probs(
        self, hidden: torch.Tensor, temperature: float = 1.0, in_float32: bool = True
    ) -> torch.Tensor:
        """Compute CTC log posteriors.

        Args:
            hidden: Encoder output (B, T, D) from :meth:`encode`.
            temperature: Divides the logits before the softmax.
            in_float32: Compute the logits in float32, not in the precision of autocast.

        Returns:
            Log posteriors (B, T, V) in float32.
        """
        with torch.no_grad():
            output = self.frozen_module.ctc.ctc_lo
            logits = output_logits(hidden, output, in_float32)
            return (logits / temperature).log_softmax(dim=-1)

    def copy_ctc(self, norm: torch.nn.Module, output: torch.nn.Module) -> None:
        """Copy the weights of the encoder's final LayerNorm and of the CTC layer."""
        final_norm = self.frozen_module.backbone.encoder.after_norm
        norm.load_state_dict(final_norm.state_dict())
        output.load_state_dict(self.frozen_module.ctc.ctc_lo.state_dict())


def concatenate(chunks: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate chunks (B_i, T_i, D) of a batch, zero-padded to the longest."""
    if len(chunks) == 1:
        return chunks[0]
    longest = max(chunk.size(1) for chunk in chunks)
    return torch.cat(
        [
            torch.nn.functional.pad(chunk, (0, 0, 0, longest - chunk.size(1)))
            for chunk in chunks
        ]
    )
