"""Long speech in overlapping buffers, as ESPnet's ``decode_long`` cuts it for CTC."""

from dataclasses import dataclass

import torch

CONTEXT_SECONDS = 2.0  # ESPnet's default, rounded to whole frames


@dataclass(frozen=True)
class Buffers:
    """Buffers of the length that a model is made for, with context at both ends.

    The context is encoded and then dropped, so that no frame that is kept was at an
    edge. The kept frames of consecutive buffers are those of the recording.

    Attributes:
        frame: Samples per encoder frame.
        context: Frames that are dropped at the start of a buffer.
        kept: Frames that are kept after them.
    """

    frame: int
    context: int
    kept: int

    @classmethod
    def of(cls, longest: int, frame: int, sample_rate: int) -> "Buffers | None":
        """Return the buffers of a model.

        Args:
            longest: Samples of the longest speech that the model is made for.
            frame: Samples per encoder frame.
            sample_rate: Sampling rate in Hz.

        Returns:
            None where buffers would not consist of whole frames, or only of context;
            ESPnet refuses to cut speech then.
        """
        context = round(CONTEXT_SECONDS * sample_rate / frame)
        kept = longest // frame - 2 * context
        return None if longest % frame or kept < 1 else cls(frame, context, kept)

    @property
    def samples(self) -> int:
        """Samples of a buffer."""
        return self.frame * (2 * self.context + self.kept)

    def cut(self, wave: torch.Tensor) -> torch.Tensor:
        """Cut a recording (S,) into buffers (N, :attr:`samples`), zero-padded."""
        context, shift = self.frame * self.context, self.frame * self.kept
        whole = (len(wave) + 2 * context - self.samples) // shift + 1
        # ESPnet has one that is not whole, also where it holds nothing but context
        count = max(0, whole) + 1
        after = (count - 1) * shift + self.samples - len(wave) - context
        padded = torch.nn.functional.pad(wave, (context, after))
        return padded.unfold(0, self.samples, shift)

    def lengths(self, samples: int, count: int) -> torch.Tensor:
        """Return the kept frames (N,) of each buffer that are the recording's.

        Args:
            samples: Samples of the recording.
            count: N, its buffers.
        """
        total = round(samples / self.frame)
        return (total - self.kept * torch.arange(count)).clamp(0, self.kept)
