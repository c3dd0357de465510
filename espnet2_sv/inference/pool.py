"""Several processes, one a device, that share the shards of one job."""

import queue
import traceback
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.multiprocessing

from espnet2_sv.errors import SVError
from espnet2_sv.inference.shards import Shard
from espnet2_sv.inference.worker import Job, embed_shards

SECONDS_BETWEEN_CHECKS = 1.0


def run_processes(
    job: Job, devices: Sequence[str], shards: Sequence[Shard], progress: Callable[[int], None]
) -> None:
    """Embed shards with one spawned process for each device; each takes the next shard.

    Raises:
        SVError: A recording cannot be embedded, or a process died; the others are stopped.
            Shards that were finished stay.
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


def _follow(processes, reports, progress: Callable[[int], None]) -> None:
    """Pass on progress until every process has said that it is done."""
    running = len(processes)
    while running:
        try:
            kind, value = reports.get(timeout=SECONDS_BETWEEN_CHECKS)
        except queue.Empty:
            codes = [process.exitcode for process in processes]
            if any(codes) or None not in codes:
                raise SVError(
                    f"a process that embeds died (exit codes {codes}); if memory ran out, lower "
                    "--batch_seconds or the number of processes; run again to go on"
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
