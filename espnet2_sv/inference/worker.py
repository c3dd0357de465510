"""Embedding shards of recordings with one model on one device."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from espnet2_sv.errors import SVError
from espnet2_sv.inference.extractors import Extractor, Precision
from espnet2_sv.inference.parts import Part, save_part
from espnet2_sv.inference.reading import Item, plan_batches, read_ahead, reader, reading_pool
from espnet2_sv.inference.shards import Shard
from espnet2_sv.inference.waveforms import Outcome, WaveformEmbedder


@dataclass(frozen=True)
class Job:
    """What every process that works on one ``wav.scp`` needs to know.

    Attributes:
        extractor: What to make of each recording.
        precision: How exactly, and in what portions.
        parts_dir: Where finished shards go.
        num_workers: Threads that read audio.
        skip_bad: Note a bad recording and go on, rather than stop.
        allow_pipes: Run the commands in the ``wav.scp``.
    """

    extractor: Extractor
    precision: Precision
    parts_dir: Path
    num_workers: int
    skip_bad: bool
    allow_pipes: bool

    def part_path(self, shard: Shard) -> Path:
        """Return the file that holds a finished shard."""
        return self.parts_dir / f"{shard.key}.npz"

    def embedder(self, device: str) -> WaveformEmbedder:
        """Load the model."""
        return self.extractor.load(device, self.precision)


def embed_shards(
    job: Job,
    embedder: WaveformEmbedder,
    shards: Iterable[Shard],
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Embed shards and write each to its part when it is done.

    Args:
        job: What to do with them.
        embedder: The model.
        shards: Drawn from lazily, a few batches ahead of what is being embedded.
        progress: Told how many more utterances are done.

    Raises:
        SVError: A recording cannot be embedded, and ``job.skip_bad`` is not set.
    """
    with reading_pool(job.num_workers) as pool:
        under_way = []  # shards whose batches have been planned, with the utterances still to come

        def batches() -> Iterator[list[tuple[str, str]]]:
            for shard in shards:
                under_way.append(_Results(shard, embedder.sample_rate))
                yield from plan_batches(shard.utterances, job.precision.batch_seconds, pool)

        read = reader(embedder.sample_rate, job.allow_pipes)
        for batch in read_ahead(batches(), read, pool):
            results = under_way[0]
            for utterance, wave, outcome in embed_batch(embedder, batch):
                if isinstance(outcome, SVError):
                    reason = " ".join(str(outcome).split())
                    if not job.skip_bad:
                        raise SVError(f"utterance {utterance}: {reason}")
                    results.failed[utterance] = reason
                else:
                    results.done[utterance] = (outcome, len(wave))
            progress(len(batch))
            if results.complete():
                save_part(job.part_path(results.shard), results.part())
                under_way.pop(0)


def embed_batch(
    embedder: WaveformEmbedder, batch: list[Item]
) -> Iterator[tuple[str, np.ndarray | None, Outcome | SVError]]:
    """Embed a batch, and find the culprit where that fails.

    Args:
        embedder: The model.
        batch: Pairs of utterance and waveform, or error in place of a waveform.

    Yields:
        (utterance, waveform, outcome or error).
    """
    good = [(name, wave) for name, wave in batch if not isinstance(wave, SVError)]
    yield from ((name, None, wave) for name, wave in batch if isinstance(wave, SVError))
    if not good:
        return
    try:
        outcomes = embedder.outcomes([wave for _, wave in good])
    except (SVError, torch.OutOfMemoryError) as e:
        if len(good) > 1:
            for item in good:
                yield from embed_batch(embedder, [item])
            return
        yield (*good[0], _as_error(e))
        return
    for (name, wave), outcome in zip(good, outcomes, strict=True):
        if outcome.embedding.isfinite().all():
            yield name, wave, outcome
        else:
            yield name, wave, SVError("its embedding is not finite; try --dtype float32")


def _as_error(error: Exception) -> SVError:
    if isinstance(error, SVError):
        return error
    return SVError("does not fit into GPU memory; lower --max_seconds and --batch_seconds")


class _Results:
    """Outcomes of the utterances of one shard, which arrive in another order."""

    def __init__(self, shard: Shard, sample_rate: int):
        self.shard = shard
        self.sample_rate = sample_rate
        self.done: dict[str, tuple[Outcome, int]] = {}
        self.failed: dict[str, str] = {}

    def complete(self) -> bool:
        return len(self.done) + len(self.failed) == len(self.shard.utterances)

    def part(self) -> Part:
        names = [name for name, _ in self.shard.utterances if name in self.done]
        outcomes = [self.done[name][0] for name in names]
        vectors = [outcome.embedding.numpy() for outcome in outcomes]
        return Part(
            names,
            np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32),
            np.array([self.done[name][1] / self.sample_rate for name in names]),
            [(name, self.failed[name]) for name, _ in self.shard.utterances if name in self.failed],
            [outcome.transcript.text for outcome in outcomes if outcome.transcript is not None],
        )
