import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.av_source import AVSource
from espnet2_sv.data.decoders import PCMSource, open_pcm
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError


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


def lag(reference, signal, most=3000):
    """Delay of ``signal`` against ``reference`` in samples, by cross-correlation."""
    n = min(len(reference), len(signal))
    spectrum = np.fft.rfft(signal[:n], 2 * n) * np.fft.rfft(reference[:n], 2 * n).conj()
    shifts = np.fft.irfft(spectrum)
    return max(range(-most, most), key=lambda k: shifts[k])


@pytest.mark.parametrize("rate", [16000, 44100])
def test_m4a_gives_the_speech_that_was_encoded(write_m4a, an4_wavs, rate):
    speech = read_audio(an4_wavs["cen8-mmxg-b"], rate)
    path = write_m4a("a.m4a", speech, rate)
    got = read_audio(path, rate)
    info = audio_info(path)
    assert (info.rate, info.channels) == (rate, 1)
    assert abs(info.num_samples - len(got)) <= 2048
    assert abs(len(got) - len(speech)) <= 4096
    shift = lag(speech, got)
    assert 0 <= shift <= 2112  # an encoder's delay, at most
    n = min(len(speech), len(got) - shift)
    assert np.corrcoef(got[shift : shift + n], speech[:n])[0, 1] > 0.95


def test_a_part_of_an_m4a_is_in_the_right_place(write_m4a, an4_wavs):
    path = write_m4a("a.m4a", np.tile(read_audio(an4_wavs["cen8-fbbh-b"]), 4))
    whole = read_audio(path)
    for start in (0.0, 0.1, 1.7, 3.3, 6.01):
        part = read_audio(path, start=start, duration=0.5)
        first = round(start * 16000)
        assert part.shape == (8000,)
        assert (
            np.abs(part - whole[first : first + 8000]).max()
            < 0.01 * np.abs(whole).max()
        )


def test_a_raw_aac_stream_is_counted_and_cut_by_decoding(write_m4a, an4_wavs):
    path = write_m4a("a.aac", np.tile(read_audio(an4_wavs["cen8-fbbh-b"]), 3))
    whole = read_audio(path)
    assert audio_info(path).num_samples == len(whole)
    part = read_audio(path, start=2.2, duration=0.7)
    assert np.array_equal(part, whole[35200:46400])


def test_stereo_m4a_is_averaged(write_m4a, an4_wavs):
    speech = read_audio(an4_wavs["an253-fash-b"])
    path = write_m4a("a.m4a", np.stack([speech, 0 * speech], 1))
    assert audio_info(path).channels == 2
    mono = read_audio(path)
    shift = lag(speech, mono)
    n = len(speech) - 2000
    gain = np.dot(mono[shift : shift + n], speech[:n]) / np.dot(speech[:n], speech[:n])
    assert gain == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_pyav_scales_samples_as_libsndfile(write_wav, noise, subtype, channels):
    path = write_wav("a.wav", noise(5000, channels), subtype=subtype)
    with AVSource(path) as source:
        assert (source.frames, source.exact) == (5000, True)
        samples = source.read(100, 4900)
    assert samples.dtype == np.float32
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    assert np.abs(samples - expected[100:4900]).max() < 1e-7


def test_a_truncated_m4a_is_named(write_m4a, noise, tmp_path):
    path = write_m4a("a.m4a", noise(64000))
    content = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(SVError, match=r"a\.m4a: "):
        read_audio(path)
