import numpy as np
import pytest

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.av_source import AVSource
from espnet2_sv.errors import SVError


def lag(reference, signal, most=3000):
    """The shift of ``signal`` against ``reference`` in samples, by cross-correlation."""
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


def test_integer_samples_are_scaled(write_wav, noise):
    path = write_wav("a.wav", noise(5000), subtype="PCM_16")
    with AVSource(path) as source:
        assert source.frames == 5000
        samples = source.read(100, 4900)
    assert samples.dtype == np.float32
    assert np.array_equal(samples[:, 0], read_audio(path)[100:4900])


def test_a_truncated_m4a_is_named(write_m4a, noise, tmp_path):
    path = write_m4a("a.m4a", noise(64000))
    content = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(SVError, match=r"a\.m4a: "):
        read_audio(path)
