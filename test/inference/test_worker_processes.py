import os
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from espnet2_sv.errors import SVError
from espnet2_sv.inference import workers as pool
from espnet2_sv.inference.extractors import EmbeddingExtractor, Precision
from espnet2_sv.inference.shards import make_shards
from espnet2_sv.inference.workers import Job, embed_batch, run_processes
from espnet2_sv.zoo.files import ModelFiles
from espnet2_sv.zoo.source import SpeakerSource


def test_an_error_in_a_process_reaches_the_user(tmp_path):
    files = ModelFiles(tmp_path / "gone.yaml", tmp_path / "gone.pth", tmp_path, {})
    gone = SpeakerSource(files, "scratch")
    job = Job(
        EmbeddingExtractor(gone),
        Precision(),
        parts_dir=tmp_path,
        num_workers=1,
        skip_bad=False,
        allow_pipes=False,
    )
    with pytest.raises(SVError, match=r"gone\.pth: no such"):
        run_processes(job, ["cpu"], make_shards({"utt": "x.wav"}, 4, {}), print)


def test_a_process_that_dies_is_noticed(monkeypatch):
    monkeypatch.setattr(pool, "_work", os._exit)  # ends with an error of its own
    with pytest.raises(SVError, match="died"):
        run_processes(None, ["cpu"], [], print)


class Memory:
    """Stands for an embedder on a GPU with room for some waveforms at a time."""

    def __init__(self, rows: int):
        self.rows = rows
        self.calls: list[int] = []
        self.failed = weakref.WeakSet()

    def results(self, waves):
        assert not self.failed, "what the failed batch had allocated is still held"
        self.calls.append(len(waves))
        allocated = torch.zeros(len(waves))
        if len(waves) > self.rows:
            self.failed.add(allocated)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [SimpleNamespace(embedding=torch.tensor(wave[:1])) for wave in waves]


@pytest.mark.parametrize("rows", range(5))
def test_a_batch_that_is_too_large_is_halved_once_its_memory_is_free(rows):
    items = [(f"u{i}", np.full(3, i, np.float32)) for i in range(7)]
    memory = Memory(rows)
    results = {name: result for name, _, result in embed_batch(memory, items)}
    assert list(results) == [name for name, _ in items]
    if rows == 0:
        assert all("does not fit into GPU" in str(e) for e in results.values())
    else:
        values = [float(result.embedding) for result in results.values()]
        assert values == list(range(7))
