import numpy as np
import pytest

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.crops import read_crop
from espnet2_sv.data.sources import open_audio


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
