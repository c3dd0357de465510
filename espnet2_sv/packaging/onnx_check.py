"""Whether an ONNX graph computes the embeddings of the model that it was made from."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch

from espnet2_sv.errors import SVError
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.packaging.onnx_graph import INPUTS
from espnet2_sv.scoring.cosine import length_normalise

# Bounds on the largest difference, relative to an embedding's norm, and on the smallest
# cosine
MAX_DIFFERENCE = 1e-4
MIN_COSINE = 0.99999
# Seconds of the utterances, a tuple for each batch
SECONDS = ((0.5, 1.7, 3.1, 0.9), (20.0, 2.3, 11.7), (6.4,))


class CheckSignals:
    """Mixed batches of synthetic speech, with the model's embedding of each alone.

    Args:
        model: The model, in eval mode on the CPU.
    """

    def __init__(self, model: SpeakerModel):
        rate, rng = model.backbone.sample_rate, np.random.default_rng(0)
        self.batches = [
            [buzz(round(duration * rate), rate, rng) for duration in batch]
            for batch in SECONDS
        ]
        with torch.inference_mode():
            self.expected = [
                np.concatenate([_alone(model, wave) for wave in batch])
                for batch in self.batches
            ]

    def compare(self, data: bytes) -> tuple[float, float]:
        """Compare the embeddings of a graph with the model's.

        Args:
            data: The contents of the ONNX file.

        Returns:
            The largest difference of a value, relative to the norm of the model's
            embedding, and the smallest cosine.
        """
        session = open_session(data)
        found = [embed_batch(session, batch) for batch in self.batches]
        ours, theirs = np.concatenate(self.expected), np.concatenate(found)
        norms = np.linalg.norm(ours, axis=1, keepdims=True)
        cosines = (length_normalise(ours) * length_normalise(theirs)).sum(axis=1)
        return float((np.abs(ours - theirs) / norms).max()), float(cosines.min())

    def require_equal(self, data: bytes) -> tuple[float, float]:
        """Compare as :meth:`compare` does.

        Raises:
            SVError: The embeddings differ by more than rounding.
        """
        difference, cosine = self.compare(data)
        # NaN is not less than anything
        if not (difference <= MAX_DIFFERENCE and cosine >= MIN_COSINE):
            raise SVError(
                f"the exported network's embeddings differ from the model's by"
                f" {difference:.1e} (at most {MAX_DIFFERENCE:.0e} is allowed), their"
                f" cosine is {cosine:.6f}; nothing is written"
            )
        return difference, cosine


def open_session(
    data: bytes, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Load a graph into ONNX Runtime, on the CPU.

    Args:
        data: The contents of the ONNX file.
        threads: Threads of an operator; by default as many as torch uses.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"]
    )


def embed_batch(
    session: onnxruntime.InferenceSession, waves: Sequence[np.ndarray]
) -> np.ndarray:
    """Embed utterances (S,) of any lengths, with noise as padding; return (B, E)."""
    lengths = np.array([len(wave) for wave in waves])
    rng = np.random.default_rng(1)
    padded = rng.normal(0, 0.1, (len(waves), lengths.max() + 1000)).astype(np.float32)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    return session.run(None, dict(zip(INPUTS, (padded, lengths), strict=True)))[0]


def buzz(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return something like voiced speech in noise: float32 (samples,)."""
    time = np.arange(samples) / rate
    pitch = rng.uniform(80, 250) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 15))
    voice = voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return (0.05 * voice + 0.005 * rng.standard_normal(samples)).astype(np.float32)


def _alone(model: SpeakerModel, wave: np.ndarray) -> np.ndarray:
    speech = torch.from_numpy(wave)[None]
    return model.embed(speech, torch.tensor([len(wave)])).numpy()
