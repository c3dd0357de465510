"""An ASR model that teaches by its frame-level CTC posteriors."""

import torch
from espnet2.asr.ctc import CTC
from torch.nn.utils.rnn import pad_sequence

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.frozen import FrozenModuleRef
from espnet2_sv.errors import SVError

# Without a graph, nothing is gained by encoding a large batch in one go; the
# subsampling's first convolution of 256 crops of 3 s would take 3 GiB in an encoder of
# 512 dimensions.
UTTERANCES_AT_ONCE = 32


class CtcEncoder(torch.nn.Module):
    """The parts of an ASR model that give frame-level CTC posteriors."""

    def __init__(self, backbone: BlockBackbone, ctc: CTC):
        super().__init__()
        self.backbone = backbone
        self.ctc = ctc


class Teacher(FrozenModuleRef[CtcEncoder]):
    """Front end, normalisation, encoder and CTC layer of an ASR model that stays as it is.

    The model's other parts, such as a decoder, are not kept.

    Args:
        bundle: The ASR model.

    Raises:
        SVError: It has no CTC layer.
    """

    def __init__(self, bundle: AsrBundle):
        ctc = bundle.model.ctc
        if ctc is None:
            raise SVError(
                f"{bundle.directory}: cannot teach, as it was trained without CTC"
                " (ctc_weight 0) and so has no posteriors of frames; choose another"
                " ASR model"
            )
        super().__init__(CtcEncoder(bundle.backbone(), ctc))
        self.blank = int(bundle.model.blank_id)
        self.weights_sha256 = bundle.weights_sha256

    @property
    def vocab(self) -> int:
        """V, the classes of the CTC layer."""
        return self.frozen_module.ctc.ctc_lo.out_features

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return self.frozen_module.backbone.sample_rate

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.frozen_module.backbone.frame_rate_hz

    @property
    def padding_sensitive(self) -> bool:
        """Whether posteriors depend on padding."""
        return self.frozen_module.backbone.padding_sensitive

    def encode(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the CTC layer reads, (B, T, D), of speech (B, S), and its lengths (B,)."""
        backbone = self.frozen_module.backbone
        frames: list[torch.Tensor] = []
        lengths: list[torch.Tensor] = []
        with self.inference_context(speech.device):
            for piece, piece_lengths in zip(
                speech.split(UTTERANCES_AT_ONCE),
                speech_lengths.split(UTTERANCES_AT_ONCE),
                strict=True,
            ):
                hidden, valid = backbone.encode(
                    *backbone.features(piece, piece_lengths)
                )
                frames.extend(hidden)
                lengths.append(valid)
            return pad_sequence(frames, batch_first=True), torch.cat(lengths)

    def log_probs(self, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return log posteriors (B, T, V) in float32 of what :meth:`encode` gave.

        Args:
            hidden: Frames (B, T, D).
            temperature: Divides the logits before the softmax.
        """
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            logits = self.frozen_module.ctc.ctc_lo(hidden.float())
            return (logits / temperature).log_softmax(dim=-1)

    def copy_ctc(self, norm: torch.nn.Module, output: torch.nn.Module) -> None:
        """Copy the encoder's final norm and the CTC layer to modules of the same shapes."""
        norm.load_state_dict(
            self.frozen_module.backbone.encoder.after_norm.state_dict()
        )
        output.load_state_dict(self.frozen_module.ctc.ctc_lo.state_dict())
