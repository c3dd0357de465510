"""From waveforms to embeddings, for every entry point of inference."""

import hashlib
import math
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from espnet2_sv.asr.recogniser import Transcript
from espnet2_sv.data.audio import SILENCE
from espnet2_sv.data.batches import plan_batches
from espnet2_sv.errors import SVError
from espnet2_sv.inference.progress import progress_bar
from espnet2_sv.models.speaker_model import clone_sharing_weights

if TYPE_CHECKING:
    from espnet2_sv.inference.layer_probe import LayerStatistics
    from espnet2_sv.models.stock_model import EmbeddingModel

DTYPES = ("float32", "float16", "bfloat16")
# On a CPU a batch's activations should fit in its caches; larger batches are no faster
CPU_BATCH_SECONDS = 15.0
# Longest piece of a recording by default. Attention takes time that grows with the
# square of a piece's length; tools/doc/benchmarks.md has time and accuracy by length
MAX_SECONDS = 10.0
# A recording of more pieces than this is cut into pieces half as long: with so much
# speech they are no less accurate, and cheaper
MANY_PIECES = 6
# In joint recognition each cut may lose or break a word, so pieces are longer
JOINT_MAX_SECONDS = 120.0
# The progress of longer recordings is shown
LONG_SECONDS = 120.0


@dataclass(frozen=True)
class EmbeddingResult:
    """The result for one recording.

    Attributes:
        embedding: (E,) float32 on the CPU, not length-normalised.
        transcript: The recognised text, in joint recognition.
    """

    embedding: torch.Tensor
    transcript: Transcript | None = None


class WaveformEmbedder:
    """Embeds waveforms in bounded memory.

    A recording longer than ``max_seconds`` is cut into consecutive pieces of equal
    length, and one longer than six times that into pieces of at most half of it. The
    embedding of the whole has the direction of the mean of the pieces'
    length-normalised embeddings and the mean of their magnitudes, both weighted by
    duration.

    An embedding does not depend on the batch it was computed in: models whose outputs
    depend on padding (``padding_sensitive``) get batches of equal lengths.

    Args:
        model: A speaker model in eval mode, with ``embed``: speech (B, S) and lengths
            (B,) to (B, E). Its ``backbone``, or itself, has ``sample_rate`` and perhaps
            ``padding_sensitive``.
        dtype: float32, or float16 / bfloat16 for mixed precision.
        max_seconds: Longest piece that is embedded in one pass, in seconds.
        batch_seconds: Bound on a batch's padded duration, in seconds.
        show_progress: Show how much of long recordings is done.
    """

    # Whether pieces of long recordings may be shorter than need be
    halves_long = True

    def __init__(
        self,
        model: "EmbeddingModel | LayerStatistics",
        dtype: str = "float32",
        max_seconds: float = MAX_SECONDS,
        batch_seconds: float = 240.0,
        show_progress: bool = False,
    ):
        if dtype not in DTYPES:
            raise SVError(
                f"dtype {dtype!r} is not supported; use one of {', '.join(DTYPES)}"
            )
        for name, value in (
            ("max_seconds", max_seconds),
            ("batch_seconds", batch_seconds),
        ):
            if not 0 < value < math.inf:
                raise SVError(f"{name} {value} must be a positive number of seconds")
        self.model = model
        self.dtype = dtype
        self.show_progress = show_progress
        backbone = self._backbone()
        self.sample_rate = int(backbone.sample_rate)
        self.max_samples = max(1, round(max_seconds * self.sample_rate))
        self.batch_samples = max(
            self.max_samples, round(batch_seconds * self.sample_rate)
        )
        self.equal_lengths_only = bool(getattr(backbone, "padding_sensitive", False))
        self.device = next(model.parameters()).device
        if self.device.type == "cpu":
            self.batch_samples = min(
                self.batch_samples, round(CPU_BATCH_SECONDS * self.sample_rate)
            )
        self._replicas: list[WaveformEmbedder] = []

    def __call__(self, waves: Sequence[np.ndarray | torch.Tensor]) -> torch.Tensor:
        """Embed waveforms.

        Args:
            waves: Float waveforms (S,) at the model's sampling rate, of any lengths.

        Returns:
            Embeddings (len(waves), E): float32, on the CPU, not length-normalised.

        Raises:
            SVError: A waveform is empty, silent, not finite, not one-dimensional or too
                short.
        """
        return torch.stack([result.embedding for result in self.results(waves)])

    def results(
        self, waves: Sequence[np.ndarray | torch.Tensor]
    ) -> list[EmbeddingResult]:
        """Process waveforms as :meth:`__call__` does; return complete results."""
        pieces = [self._pieces(check_waveform(wave)) for wave in waves]
        done = self._in_batches([piece for group in pieces for piece in group])
        merged = []
        for group in pieces:
            merged.append(
                merge_results(done[: len(group)], [len(piece) for piece in group])
            )
            done = done[len(group) :]
        return merged

    def fingerprint(self) -> str:
        """Return a hash of the weights, however the model was packed.

        Of an adaptor, it includes the ASR model that it reads.
        """
        digest = hashlib.sha256()
        backbone = self._backbone()
        for network in (self.model, getattr(backbone, "frozen_module", None)):
            if network is None:
                continue
            for name, tensor in sorted(network.state_dict().items()):
                digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy())
        return digest.hexdigest()

    def _pieces(self, wave: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut a waveform (S,) as the class describes."""
        most = self.max_samples
        if self.halves_long and len(wave) > MANY_PIECES * most:
            most = max(1, most // 2)
        return split_evenly(wave, most)

    def _in_batches(self, waves: list[torch.Tensor]) -> list[EmbeddingResult]:
        """Process waveforms of bounded length; results are in the given order."""
        results: dict[int, EmbeddingResult] = {}
        batches = self._batches([len(wave) for wave in waves])
        found = self._each([[waves[i] for i in batch] for batch in batches])
        seconds = [len(wave) / self.sample_rate for wave in waves]
        with self._progress(sum(seconds)) as progress:
            for batch, done in zip(batches, found, strict=True):
                results.update(zip(batch, done, strict=True))
                progress(sum(seconds[i] for i in batch))
        return [results[i] for i in range(len(waves))]

    def _progress(
        self, seconds: float
    ) -> AbstractContextManager[Callable[[float], object]]:
        if self.show_progress and seconds > LONG_SECONDS:
            return progress_bar(seconds, 0, "seconds of audio", "s")
        return nullcontext(lambda more: None)

    def _each(
        self, batches: list[list[torch.Tensor]]
    ) -> Iterable[list[EmbeddingResult]]:
        """Process batches, on a CPU several at once."""
        members = min(len(batches), self._cores())
        if members < 2:
            return map(self._process, batches)
        if len(self._replicas) < members - 1:
            self._replicas = []  # a replica must not have replicas of its own
            self._replicas = [
                clone_sharing_weights(self, self._networks())
                for _ in range(members - 1)
            ]
        return parallel_map(
            [self, *self._replicas][:members], type(self)._process, batches
        )

    def _cores(self) -> int:
        one_thread = getattr(self._backbone(), "one_thread", False)
        if self.device.type != "cpu" or one_thread:
            return 1
        return torch.get_num_threads()

    def _backbone(self) -> Any:
        """Return the part that reads audio; all of a model that has no such part."""
        return getattr(self.model, "backbone", self.model)

    def _networks(self) -> list[torch.nn.Module]:
        """Return all networks, including those outside of the model's module tree."""
        backbone = self._backbone()
        return [self.model, getattr(backbone, "frozen_module", backbone)]

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        """Group indices, longest first, within the bound on a batch's padded length."""
        return plan_batches(
            lengths, self.batch_samples, equal_lengths_only=self.equal_lengths_only
        )

    @torch.inference_mode()
    def _process(self, waves: list[torch.Tensor]) -> list[EmbeddingResult]:
        """Process one batch."""
        with self._precision():
            embeddings = self.model.embed(*self._padded(waves))
        return [EmbeddingResult(row) for row in embeddings.float().cpu()]

    def _padded(self, waves: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch (B, S) on the device, and lengths (B,)."""
        speech = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True).to(
            self.device
        )
        return speech, torch.tensor([len(wave) for wave in waves], device=self.device)

    def _precision(self):
        """Use mixed precision if asked for, otherwise float32 without TF32."""
        if self.dtype != "float32":
            return torch.autocast(self.device.type, dtype=getattr(torch, self.dtype))
        if self.device.type == "cuda":
            return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return nullcontext()


def check_waveform(wave: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return a waveform as a float32 tensor (S,) on the CPU.

    Raises:
        SVError: It is not one-dimensional, empty, silent, of integers, or has NaN or
            infinite samples.
    """
    if isinstance(wave, np.ndarray):
        if wave.dtype.kind not in "fiub":
            raise SVError(f"speech holds {wave.dtype}, not samples")
        # a copy only if need be: long recordings are large, but torch accepts neither
        # read-only nor reversed arrays
        fits = wave.flags.c_contiguous and wave.flags.writeable
        kind = np.float32 if wave.dtype.kind == "f" else wave.dtype
        wave = torch.from_numpy(wave.astype(kind, copy=not fits))
    if not isinstance(wave, torch.Tensor):
        raise SVError(
            f"speech must be a numpy array or a torch tensor, not {type(wave).__name__}"
        )
    if wave.dim() != 1:
        raise SVError(
            f"speech must be one channel of shape (samples,), not {tuple(wave.shape)}"
        )
    if wave.numel() == 0:
        raise SVError("speech is empty; at least some tenths of a second are needed")
    if not wave.is_floating_point():
        raise SVError(f"speech holds {wave.dtype}; scale it to floats between -1 and 1")
    wave = wave.detach().to("cpu", torch.float32)
    lowest, highest = (float(end) for end in torch.aminmax(wave))  # NaN if there is one
    if not math.isfinite(lowest) or not math.isfinite(highest):
        raise SVError("speech has NaN or infinite samples; repair the recording")
    if max(-lowest, highest) < SILENCE:
        raise SVError("speech is silent, all samples are zero; replace the recording")
    return wave


def split_evenly(wave: torch.Tensor, max_samples: int) -> tuple[torch.Tensor, ...]:
    """Cut a waveform (S,) into the fewest pieces of equal length, to one sample."""
    count = -(-len(wave) // max_samples)
    return torch.tensor_split(wave, count)


def merge_results(
    results: Sequence[EmbeddingResult], weights: Sequence[float]
) -> EmbeddingResult:
    """Join the results of consecutive pieces of a recording.

    Args:
        results: One per piece.
        weights: The pieces' durations, in any unit.
    """
    if len(results) == 1:
        return results[0]
    embedding = merge_pieces(
        torch.stack([result.embedding for result in results]), weights
    )
    return EmbeddingResult(
        embedding, join_transcripts([result.transcript for result in results])
    )


def join_transcripts(transcripts: Sequence[Transcript | None]) -> Transcript | None:
    """Join the transcripts of consecutive pieces with spaces, without n-best lists."""
    parts = [part for part in transcripts if part is not None]
    if len(parts) < len(transcripts):
        return None
    return Transcript(
        text=" ".join(part.text for part in parts if part.text),
        tokens=[token for part in parts for token in part.tokens],
        token_ids=[token for part in parts for token in part.token_ids],
    )


def merge_pieces(embeddings: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Join the embeddings of consecutive pieces (N, E) into that of the recording (E,).

    Args:
        embeddings: One row per piece.
        weights: The pieces' durations, in any unit.

    Returns:
        A vector in the direction of the weighted mean of the length-normalised rows,
        with the weighted mean of their magnitudes.
    """
    weight = torch.as_tensor(weights, dtype=torch.float64)
    weight = weight / weight.sum()
    rows = embeddings.double()
    norms = rows.norm(dim=1)
    direction = (weight[:, None] * torch.nn.functional.normalize(rows, dim=1)).sum(0)
    direction = torch.nn.functional.normalize(direction, dim=0)
    return (direction * (weight * norms).sum()).float()


def parallel_map[T, R](
    members: Sequence[T], work: Callable[[T, Any], R], pieces: Sequence[Any]
) -> Iterator[R]:
    """Process pieces in threads, one core each; yield results in the pieces' order.

    An operator on a few seconds of speech is too small to be shared by several cores:
    they would wait for each other most of the time.

    Args:
        members: Replicas, each of which processes one piece at a time.
        work: Called with a member and a piece.
        pieces: What to process.
    """
    cores = torch.get_num_threads()
    free: queue.SimpleQueue[T] = queue.SimpleQueue()
    for member in members:
        free.put(member)

    def do(piece: Any) -> R:
        member = free.get()
        try:
            return work(member, piece)
        finally:
            free.put(member)

    # torch's number of threads is per thread; new ones start with the last that was set
    with ThreadPoolExecutor(
        len(members), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            yield from pool.map(do, pieces)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(cores)
