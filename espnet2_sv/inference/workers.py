"""Embedding shards of recordings: one worker process per device."""

import queue
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing

from espnet2_sv.data.job_split import end_with_parent
from espnet2_sv.errors import SVError
from espnet2_sv.inference.extractors import Extractor, Precision
from espnet2_sv.inference.reading import (
    Item,
    batches_by_length,
    read_ahead,
    reader,
    reading_pool,
)
from espnet2_sv.inference.shards import Part, Shard, save_part
from espnet2_sv.inference.speech_activity import speech_detector
from espnet2_sv.inference.waveforms import EmbeddingResult, WaveformEmbedder

SECONDS_BETWEEN_CHECKS = 1.0


@dataclass(frozen=True)
class Job:
    """Settings that the worker processes of one ``wav.scp`` share.

    Attributes:
        extractor: What each recording is turned into.
        precision: Numerical precision and batch sizes.
        parts_dir: Directory of finished shards.
        num_workers: Audio-reading threads per process.
        skip_bad: Record a bad recording and continue, rather than stop.
        allow_pipes: Run the commands in the ``wav.scp``.
        channel: Channel to use, counted from 1; None means the mean of all.
        vad: Look for speech.
    """

    extractor: Extractor
    precision: Precision
    parts_dir: Path
    num_workers: int
    skip_bad: bool
    allow_pipes: bool
    channel: int | None = None
    vad: bool = False

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
    progress: Callable[[int], object] = lambda count: None,
) -> None:
    """Embed shards and save each as a part when it is complete.

    Args:
        job: The settings.
        embedder: The model.
        shards: Consumed lazily, a few batches ahead of the model.
        progress: Called with the number of utterances finished since the last call.

    Raises:
        SVError: A recording cannot be embedded, and ``job.skip_bad`` is not set.
    """
    detector = speech_detector(job.vad)
    with reading_pool(job.num_workers) as pool:
        in_progress = []  # results of the shards whose batches have been planned

        def batches() -> Iterator[list[tuple[str, str]]]:
            for shard in shards:
                in_progress.append(_Results(shard, embedder.sample_rate))
                yield from batches_by_length(
                    shard.utterances, job.precision.batch_seconds, pool
                )

        read = reader(embedder.sample_rate, job.allow_pipes, job.channel)
        for batch in read_ahead(batches(), read, pool):
            results = in_progress[0]
            for utterance, wave, result in embed_batch(embedder, batch):
                if isinstance(result, SVError):
                    reason = " ".join(str(result).split())
                    if not job.skip_bad:
                        raise SVError(f"utterance {utterance}: {reason}")
                    results.failed[utterance] = reason
                else:
                    assert wave is not None  # it was embedded
                    results.done[utterance] = (result, len(wave))
            if detector is not None:
                good = [
                    (name, wave)
                    for name, wave in batch
                    if name in results.done and not isinstance(wave, SVError)
                ]
                speech = detector.seconds([w for _, w in good], embedder.sample_rate)
                for (name, _), seconds in zip(good, speech, strict=True):
                    results.speech[name] = seconds
            progress(len(batch))
            if results.complete():
                save_part(job.part_path(results.shard), results.part())
                in_progress.pop(0)


def embed_batch(
    embedder: WaveformEmbedder, batch: Sequence[Item]
) -> Iterator[tuple[str, np.ndarray | None, EmbeddingResult | SVError]]:
    """Embed a batch; if that fails, embed its halves.

    Args:
        embedder: The model.
        batch: Pairs of utterance and waveform, or an error in its place.

    Yields:
        (utterance, waveform, result or error).
    """
    good = [(name, wave) for name, wave in batch if not isinstance(wave, SVError)]
    yield from ((name, None, wave) for name, wave in batch if isinstance(wave, SVError))
    if not good:
        return
    error = None
    try:
        results = embedder.results([wave for _, wave in good])
    except (SVError, torch.OutOfMemoryError) as e:
        error = _without_traceback(e)
    # Only out here is the memory of the failed batch free: the exception's traceback
    # held its tensors
    if error is not None:
        if len(good) == 1:
            yield (*good[0], error)
            return
        middle = len(good) // 2
        yield from embed_batch(embedder, good[:middle])
        yield from embed_batch(embedder, good[middle:])
        return
    for (name, wave), result in zip(good, results, strict=True):
        if result.embedding.isfinite().all():
            yield name, wave, result
        else:
            error = SVError("its embedding is not finite; try --dtype float32")
            yield name, wave, error


def _without_traceback(error: Exception) -> SVError:
    if isinstance(error, SVError):
        return SVError(str(error))
    return SVError(
        "does not fit into GPU memory; lower --max_seconds and --batch_seconds"
    )


class _Results:
    """Collects the results of one shard, which arrive in another order."""

    def __init__(self, shard: Shard, sample_rate: int):
        self.shard = shard
        self.sample_rate = sample_rate
        self.done: dict[str, tuple[EmbeddingResult, int]] = {}
        self.failed: dict[str, str] = {}
        self.speech: dict[str, float] = {}

    def complete(self) -> bool:
        return len(self.done) + len(self.failed) == len(self.shard.utterances)

    def part(self) -> Part:
        names = [name for name, _ in self.shard.utterances if name in self.done]
        results = [self.done[name][0] for name in names]
        vectors = [result.embedding.numpy() for result in results]
        return Part(
            names,
            np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32),
            np.array([self.done[name][1] / self.sample_rate for name in names]),
            [
                (name, self.failed[name])
                for name, _ in self.shard.utterances
                if name in self.failed
            ],
            [
                result.transcript.text
                for result in results
                if result.transcript is not None
            ],
            np.array([self.speech[name] for name in names if name in self.speech]),
        )


def run_processes(
    job: Job,
    devices: Sequence[str],
    shards: Sequence[Shard],
    progress: Callable[[int], object],
) -> None:
    """Embed shards with one spawned process for each device; each takes the next shard.

    Raises:
        SVError: A recording cannot be embedded, or a process died; the others are
            stopped. Shards that were finished stay.
    """
    context = torch.multiprocessing.get_context("spawn")
    next_shard, reports = context.Value("l", 0), context.Queue()
    threads = max(1, torch.get_num_threads() // len(devices))
    processes = [
        context.Process(
            target=_work,
            args=(job, device, threads, list(shards), next_shard, reports),
            daemon=True,
        )
        for device in devices
    ]
    try:
        for process in processes:
            process.start()
        _follow(processes, reports, progress)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()


def _follow(processes, reports, progress: Callable[[int], object]) -> None:
    """Pass on progress until every process has said that it is done."""
    running = len(processes)
    while running:
        try:
            kind, value = reports.get(timeout=SECONDS_BETWEEN_CHECKS)
        except queue.Empty:
            codes = [process.exitcode for process in processes]
            if any(codes) or None not in codes:
                raise SVError(
                    f"a process that embeds died (exit codes {codes}); if memory ran"
                    " out, lower --batch_seconds or the number of processes; run again"
                    " to go on"
                ) from None
            continue
        if kind == "progress":
            progress(value)
        elif kind == "done":
            running -= 1
        elif kind == "bad":
            raise SVError(value)
        else:
            raise RuntimeError(f"a process that embeds failed:\n{value}")


def _work(
    job: Job, device: str, threads: int, shards: Sequence[Shard], next_shard, reports
) -> None:
    """Run in a spawned process: embed shards until there are no more."""
    end_with_parent()
    try:
        torch.set_num_threads(threads)
        embed_shards(
            job,
            job.embedder(device),
            _take_turns(shards, next_shard),
            lambda count: reports.put(("progress", count)),
        )
        reports.put(("done", None))
    except SVError as e:
        reports.put(("bad", str(e)))
    except Exception:
        reports.put(("crash", traceback.format_exc()))


def _take_turns(shards: Sequence[Shard], next_shard) -> Iterator[Shard]:
    """Yield the shards that no other process has taken."""
    while True:
        with next_shard.get_lock():
            index = next_shard.value
            next_shard.value += 1
        if index >= len(shards):
            return
        yield shards[index]
