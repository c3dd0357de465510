import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_sv.data.pcm_source import PCMSource, open_pcm
from espnet2_sv.data.sources import open_audio


@pytest.fixture
def every_value(write_wav):
    """All 16-bit values, in two channels."""
    values = np.arange(-32768, 32768, dtype=np.int16)
    return write_wav("all.wav", np.stack([values, values[::-1]], 1), subtype="PCM_16")


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 65536), (17, 4242), (65500, 70000), (9, 9)]
)
def test_samples_are_those_of_libsndfile(every_value, start, stop):
    expected = soundfile.read(
        every_value, dtype="float32", start=start, stop=min(stop, 65536)
    )[0]
    with open_audio(every_value) as source:
        assert isinstance(source, PCMSource)
        assert (source.frames, source.rate, source.channels) == (65536, 16000, 2)
        samples = source.read(start, stop)
    assert samples.dtype == np.float32
    assert np.array_equal(samples, expected)


def test_other_chunks_are_passed_over(tmp_path, write_wav):
    content = Path(write_wav("a.wav", 1000, subtype="PCM_16")).read_bytes()
    odd = b"note" + (5).to_bytes(4, "little") + b"hello\0"
    (tmp_path / "b.wav").write_bytes(
        content[:36] + odd + content[36:] + b"LIST\4\0\0\0abcd"
    )
    with open_audio(tmp_path / "b.wav") as source:
        assert isinstance(source, PCMSource)
        expected = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
        assert np.array_equal(source.read(0, 1000)[:, 0], expected)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_U8", "FLOAT", "ULAW"])
def test_other_encodings_are_left_to_libsndfile(write_wav, subtype):
    path = write_wav("a.wav", 1000, subtype=subtype)
    assert open_pcm(path, path) is None
    with open_audio(path) as source:
        assert len(source.read(0, 1000)) == 1000


def test_what_is_not_whole_is_left_to_libsndfile(write_wav, tmp_path):
    content = Path(write_wav("a.wav", 1000, subtype="PCM_16")).read_bytes()
    streamed = content[:40] + b"\xff" * 4 + content[44:]
    for name, wrong in [
        ("cut", content[:-2]),
        ("empty", b""),
        ("header", content[:30]),
        ("no data", content[:36]),
        ("streamed", streamed),
        ("flac", b"fLaC" + content),
    ]:
        (tmp_path / name).write_bytes(wrong)
        assert open_pcm(name, str(tmp_path / name)) is None, name
    assert open_pcm("folder", str(tmp_path)) is None
    assert open_pcm("gone", str(tmp_path / "gone")) is None


def test_files_do_not_stay_open(every_value, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with open_audio(every_value) as source:
            source.read(0, 10)
        assert open_pcm("text", str(tmp_path / "text.wav")) is None
    assert len(os.listdir("/proc/self/fd")) == before
