import os
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import resample_poly

from espnet2_sv.data import decoders
from espnet2_sv.data.audio import (
    audio_info,
    length_at,
    read_audio,
    read_crop,
    read_section,
)
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError

RATES = [8000, 11025, 22050, 44100, 48000]


@pytest.mark.parametrize("suffix", ["wav", "flac", "sph", "aiff"])
def test_lossless_formats_give_the_samples(write_wav, noise, suffix):
    kwargs = {"format": "NIST"} if suffix == "sph" else {}
    path = write_wav(f"a.{suffix}", noise(3000), subtype="PCM_16", **kwargs)
    assert np.abs(read_audio(path) - noise(3000)).max() <= 1 / 32768


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_lossy_formats_come_close(write_wav, an4_wavs, suffix):
    speech = read_audio(an4_wavs["cen7-fash-b"])
    got = read_audio(write_wav(f"a.{suffix}", speech))
    assert got.shape == speech.shape
    assert np.corrcoef(got, speech)[0, 1] > 0.98


def test_an_mp3_that_does_not_declare_its_length_is_read(tmp_path, noise):
    speech = noise(3 * 11025)
    path = tmp_path / "a.mp3"
    with av.open(path, "w", options={"write_xing": "0"}) as container:
        stream = container.add_stream("mp3", rate=11025, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (32767 * speech).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.rate = 11025
        container.mux(stream.encode(frame) + stream.encode(None))
    assert audio_info(path).num_samples == len(read_audio(path, 11025))
    assert len(read_audio(path, 11025)) == pytest.approx(len(speech), abs=0.2 * 11025)


def test_integers_span_minus_one_to_one(write_wav):
    path = write_wav("a.wav", np.array([-32768, 0, 16384, 32767], np.int16))
    assert read_audio(path).tolist() == [-1.0, 0.0, 0.5, 32767 / 32768]


def test_channels_are_averaged(write_wav, noise):
    path = write_wav("a.wav", noise(2000, channels=3), subtype="FLOAT")
    assert np.allclose(read_audio(path), noise(2000, channels=3).mean(1), atol=1e-7)
    assert audio_info(path) == (2000, 16000, 3)


@pytest.mark.parametrize("rate", RATES)
def test_another_rate_is_converted_as_by_soxr(write_wav, noise, rate):
    path = write_wav("a.wav", noise(rate), rate=rate, subtype="FLOAT")
    expected = soxr.resample(noise(rate), rate, 16000)
    assert np.allclose(read_audio(path), expected, atol=1e-6)


@pytest.mark.parametrize("rate", [16000, *RATES])
@pytest.mark.parametrize(
    ("start", "duration"),
    [(0.0, 0.3), (0.123, 0.5), (0.777, 0.001), (0.5, None), (0.9, 5.0)],
)
def test_a_part_is_a_part_of_the_whole(write_wav, noise, rate, start, duration):
    path = write_wav("a.wav", noise(rate + 17), rate=rate, subtype="FLOAT")
    first = round(start * 16000)
    stop = None if duration is None else first + round(duration * 16000)
    expected = read_audio(path)[first:stop]
    part = read_audio(path, start=start, duration=duration)
    assert part.shape == expected.shape
    assert np.abs(part - expected).max() < 1e-5


SPEEDS = [Fraction(9, 10), Fraction(11, 10), Fraction(97, 100)]


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize(
    ("rate", "suffix"), [(16000, "wav"), (16000, "flac"), (44100, "wav")]
)
def test_a_part_at_another_speed_is_a_part_of_the_whole_resampled(
    write_wav, noise, rate, suffix, speed
):
    path = write_wav(f"a.{suffix}", noise(3 * rate + 17), rate=rate, subtype="PCM_16")
    samples = soundfile.read(path, dtype="float32")[0]
    # played faster by `speed`, a second of the recording has rate * speed samples
    whole = soxr.resample(samples, float(rate * speed), 16000)
    with open_audio(path) as source:
        total = length_at(source, 16000, speed)
        assert total == len(whole)
        for start, stop in (
            (0, 8000),
            (12345, 28345),
            (total - 7000, total),
            (0, total),
        ):
            part = read_section(source, 16000, start, stop, speed=speed)
            assert len(part) == stop - start
            assert np.abs(part - whole[start:stop]).max() < 1e-5


@pytest.mark.parametrize("speed", SPEEDS[:2])
def test_speed_is_that_of_another_resampler_on_speech(an4_wavs, speed):
    wav = an4_wavs["cen8-fcaw-b"]
    expected = resample_poly(read_audio(wav), speed.denominator, speed.numerator)
    with open_audio(wav) as source:
        total = length_at(source, 16000, speed)
        got = read_section(source, 16000, 0, total, speed=speed)
    assert abs(len(expected) - total) <= 1
    expected = expected[:total]
    # the two filters differ in the last few hundred Hz only
    assert np.mean((got[: len(expected)] - expected) ** 2) < 1e-3 * np.mean(expected**2)


@pytest.mark.parametrize("speed", SPEEDS[:2])
def test_tempo_and_pitch_change_together(write_wav, speed):
    tone = np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000).astype(np.float32)
    with open_audio(write_wav("a.wav", 0.5 * tone, subtype="FLOAT")) as source:
        total = length_at(source, 16000, speed)
        played = read_section(source, 16000, 0, total, speed=speed)
    assert len(played) == round(32000 / speed)
    peak = np.abs(np.fft.rfft(played * np.hanning(total))).argmax() * 16000 / total
    assert abs(peak - 1000 * speed) < 1


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("speed", [1, Fraction(11, 10)])
def test_a_part_decodes_no_more_than_it_needs(
    write_wav, noise, monkeypatch, suffix, speed, subtype
):
    path = write_wav(f"a.{suffix}", noise(480000), rate=48000, subtype=subtype)
    decoded = []
    read, pread = soundfile.SoundFile.read, os.pread

    def count(self, frames, **kwargs):
        decoded.append(frames)
        return read(self, frames, **kwargs)

    def count_bytes(fd, size, offset):
        decoded.append(size // 2)
        return pread(fd, size, offset)

    monkeypatch.setattr(soundfile.SoundFile, "read", count)
    monkeypatch.setattr(os, "pread", count_bytes)
    with open_audio(path) as source:
        read_section(source, 16000, 4 * 16000, 5 * 16000, speed=speed)
    assert 48000 * speed <= sum(decoded) < 1.2 * 48000 * speed


def test_real_speech_is_read_at_its_own_level(an4_wavs):
    speech = read_audio(an4_wavs["cen8-fcaw-b"])
    assert speech.dtype == np.float32
    assert 0.01 < np.abs(speech).max() < 1
    assert len(speech) == audio_info(an4_wavs["cen8-fcaw-b"]).num_samples


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_nan_and_infinity_are_refused(write_wav, noise, bad, rate):
    samples = noise(4000)
    samples[1234] = bad
    path = write_wav("a.wav", samples, rate=rate, subtype="FLOAT")
    with pytest.raises(SVError, match=r"a\.wav: has NaN or infinite samples"):
        read_audio(path)


def test_a_file_without_samples_is_refused(write_wav):
    path = write_wav("a.wav", np.zeros(0))
    with pytest.raises(SVError, match=r"a\.wav: holds no samples"):
        read_audio(path)


def test_a_start_after_the_end_is_refused(write_wav):
    path = write_wav("a.wav", 16000)
    with pytest.raises(SVError, match=r"a\.wav: holds no samples from 2\.00 s on"):
        read_audio(path, start=2.0)


def test_a_truncated_flac_is_refused(write_wav, noise, tmp_path):
    path = write_wav("a.flac", noise(32000))
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(SVError, match=r"a\.flac: (is truncated|cannot be decoded)"):
        read_audio(path)


def crop_of(path, length, rate=16000, seed=0):
    with open_audio(path) as source:
        return read_crop(source, rate, length, np.random.default_rng(seed))


def test_a_crop_is_a_piece_of_the_recording(write_wav):
    path = write_wav("a.wav", 5000)
    whole = read_audio(path)
    pieces = np.lib.stride_tricks.sliding_window_view(whole, 4000)
    starts = set()
    for seed in range(30):
        crop = crop_of(path, 4000, seed=seed)
        same = (pieces == crop).all(axis=1)
        assert same.sum() == 1
        starts.add(int(np.argmax(same)))
    assert len(starts) > 20


def test_every_place_can_be_drawn(write_wav):
    path = write_wav("a.wav", np.arange(1, 7) / 10, subtype="FLOAT")
    firsts = {round(float(crop_of(path, 4, seed=s)[0]), 1) for s in range(60)}
    assert firsts == {0.1, 0.2, 0.3}


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_short_recording_is_repeated(write_wav, rate):
    path = write_wav("a.wav", 1000, rate=rate)
    whole = read_audio(path)
    crop = crop_of(path, 5000)
    assert np.array_equal(crop, np.tile(whole, 5)[:5000])


def test_a_crop_of_a_longer_m4a_has_the_asked_length(write_m4a, noise):
    path = write_m4a("a.m4a", noise(20000))
    for seed in range(20):
        assert crop_of(path, 16000, seed=seed).shape == (16000,)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("channel", [None, 2])
def test_a_long_recording_is_decoded_in_blocks(tmp_path, monkeypatch, suffix, channel):
    """All channels of all samples, 34 MB, are never in memory at once."""
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.1, 0.1, (1_400_000, 6))
    samples += [0.1, 0, 0, 0, 0.1, 0.1]
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, samples, 16000)
    whole = soundfile.read(path, dtype="float32")[0]
    expected = whole.mean(axis=1) if channel is None else whole[:, channel - 1]
    monkeypatch.setattr(decoders, "_BLOCK", 1 << 16)
    tracemalloc.start()
    try:
        found = read_audio(path, 16000, channel=channel)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    assert peak < 2 * found.nbytes + 8e6
