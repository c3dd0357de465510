import os

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.inference import workers as pool
from espnet2_sv.inference.extractors import EmbeddingExtractor, Precision
from espnet2_sv.inference.shards import make_shards
from espnet2_sv.inference.workers import Job, run_processes
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
