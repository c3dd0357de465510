import numpy as np
import pytest
from scipy.signal import fftconvolve

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.augment import Augmenter, add_noise, audible, reverberate
from espnet2_sv.errors import SVError


def decibel(signal, noise):
    signal, noise = np.asarray(signal, float), np.asarray(noise, float)
    return 10 * np.log10(np.mean(signal**2) / np.mean(noise**2))


def tones(write_wav, count, samples=16000):
    """Recordings with one tone each, at 200, 400, 600, ... Hz, of different levels."""
    t = np.arange(samples) / 16000
    return {
        f"tone{i}": write_wav(f"{i}.wav", 0.5**i * np.sin(2 * np.pi * 200 * i * t))
        for i in range(1, count + 1)
    }


def tones_in(x):
    """Frequencies within 20 dB of the strongest one, in units of 200 Hz."""
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    levels = spectrum[:: 200 * len(x) // 16000][1:]
    return {i + 1 for i in np.flatnonzero(levels > 0.1 * levels.max())}


@pytest.mark.parametrize("snr", [-5, 0, 7.5, 15, 40])
def test_noise_is_added_at_the_asked_ratio(noise, an4_wavs, snr):
    speech = read_audio(an4_wavs["cen7-fash-b"])
    noisy = add_noise(speech, noise(len(speech)), snr)
    assert noisy.dtype == np.float32
    assert decibel(speech, noisy.astype(float) - speech) == pytest.approx(snr, abs=0.1)


def test_silence_stays_silence(noise):
    silence = np.zeros(1000, np.float32)
    assert np.array_equal(add_noise(silence, noise(1000), 10), silence)
    assert np.array_equal(add_noise(noise(1000), silence, 10), noise(1000))
    assert np.array_equal(reverberate(silence, noise(100)), silence)


@pytest.mark.parametrize("direct", [0, 1, 37, 299])
def test_reverberation_is_convolution_shifted_by_the_direct_path(noise, direct):
    speech, rir = noise(2000), noise(300, seed=1)
    rir[direct] = 3.0
    wet = reverberate(speech, rir)
    reference = np.convolve(speech, rir)[direct : direct + 2000]
    reference *= np.sqrt(np.mean(speech**2) / np.mean(reference**2))
    assert wet.dtype == np.float32
    assert np.abs(wet - reference).max() < 1e-6
    assert decibel(speech, wet) == pytest.approx(0, abs=1e-3)


def test_of_a_response_only_the_inaudible_tail_is_cut(noise):
    decay = 10 ** (-3 * np.arange(16000) / 8000)  # 60 dB in half a second
    rir = (noise(16000, seed=1) * decay).astype(np.float32)
    cut = audible(rir)
    assert 7000 < len(cut) < 9000
    assert np.array_equal(cut, rir[: len(cut)])
    lost = np.sum(rir[len(cut) :].astype(float) ** 2) / np.sum(rir.astype(float) ** 2)
    assert lost < 1e-6
    pulse = np.zeros(300, np.float32)
    pulse[7] = -2
    assert np.array_equal(audible(pulse), pulse[:8])


def test_reverberation_of_seconds_is_that_of_the_whole_response(noise, an4, an4_wavs):
    speech = read_audio(an4_wavs["cen8-mmxg-b"])
    for path in an4.glob("rirs/*.wav"):
        rir = read_audio(str(path))
        direct = int(np.argmax(np.abs(rir)))
        reference = fftconvolve(speech.astype(float), rir.astype(float))
        reference = reference[direct : direct + len(speech)]
        reference *= np.sqrt(np.mean(speech**2) / np.mean(reference**2))
        assert decibel(speech, reverberate(speech, rir) - reference) > 50


@pytest.mark.parametrize(("delay", "gain"), [(0, 1.0), (500, 0.2), (3999, -2.0)])
def test_a_delayed_pulse_leaves_speech_in_place(noise, delay, gain):
    rir = np.zeros(4000, np.float32)
    rir[delay] = gain
    assert (
        np.abs(reverberate(noise(3000), rir) - np.sign(gain) * noise(3000)).max() < 1e-6
    )


def test_real_rooms_do_not_shift_speech(an4, an4_wavs):
    speech = read_audio(an4_wavs["cen8-mmxg-b"])
    for path in an4.glob("rirs/*.wav"):
        wet = reverberate(speech, read_audio(str(path)))
        assert not np.allclose(wet, speech, atol=1e-3)
        n = len(speech)
        spectrum = np.fft.rfft(wet, 2 * n) * np.fft.rfft(speech, 2 * n).conj()
        shifts = np.fft.irfft(spectrum)
        # within a millisecond; the responses begin several milliseconds before their
        # peak
        assert min(np.argmax(shifts), 2 * n - np.argmax(shifts)) <= 16


def test_snr_is_uniform_in_its_range(write_wav, noise):
    augment = Augmenter(
        {
            "apply_prob": 1,
            "noise": [{"scp": {"n": write_wav("n.wav", 9000)}, "snr": [5, 15]}],
        },
        16000,
    )
    rng = np.random.default_rng(0)
    speech = noise(4000, seed=9)
    snrs = [decibel(speech, augment(speech, rng) - speech) for _ in range(400)]
    assert 4.9 < min(snrs) < 5.5
    assert 14.5 < max(snrs) < 15.1
    assert abs(np.mean(snrs) - 10) < 0.6
    assert abs(np.std(snrs) - 10 / np.sqrt(12)) < 0.3


def test_each_recording_of_a_babble_has_its_ratio_where_asked(write_wav, noise):
    entry = {"scp": tones(write_wav, 4), "num": 4, "snr": [10, 20], "snr_of": "each"}
    augment = Augmenter({"apply_prob": 1, "noise": [entry]}, 16000)
    speech, ratios = noise(16000), []
    for seed in range(100):
        added = augment(speech, np.random.default_rng(seed)) - speech
        amplitudes = np.abs(np.fft.rfft(added))[[200, 400, 600, 800]] / 8000
        ratios += list(10 * np.log10(np.mean(speech**2) / (amplitudes**2 / 2)))
    assert 9.9 < min(ratios) < 10.5
    assert 19.5 < max(ratios) < 20.1
    assert abs(np.mean(ratios) - 15) < 0.5
    silence = np.zeros(16000, np.float32)
    assert np.array_equal(augment(silence, np.random.default_rng(0)), silence)


def test_babble_sums_different_recordings_equally_loud(write_wav, noise):
    conf = {
        "apply_prob": 1,
        "noise": [{"scp": tones(write_wav, 9), "num": [3, 8], "snr": -60}],
    }
    augment = Augmenter(conf, 16000)
    found = [
        tones_in(augment(noise(16000), np.random.default_rng(seed)))
        for seed in range(60)
    ]
    assert {len(f) for f in found} == {3, 4, 5, 6, 7, 8}
    assert set.union(*found) == set(range(1, 10))


def test_short_noise_is_repeated_and_long_noise_cut_anywhere(write_wav, noise):
    short = write_wav("short.wav", 100, subtype="FLOAT")
    augment = Augmenter(
        {"apply_prob": 1, "noise": [{"scp": {"n": short}, "snr": 0}]}, 16000
    )
    added = augment(noise(1000, seed=3), np.random.default_rng(0)) - noise(1000, seed=3)
    assert np.abs(added - np.tile(added[:100], 10)).max() < 1e-6
    assert np.corrcoef(added[:100], noise(100))[0, 1] > 0.999

    ramp = write_wav("ramp.wav", np.linspace(0.5, 1, 16000), subtype="FLOAT")
    augment = Augmenter(
        {"apply_prob": 1, "noise": [{"scp": {"n": ramp}, "snr": 0}]}, 16000
    )
    slopes = set()
    for seed in range(20):
        added = augment(noise(1000), np.random.default_rng(seed)) - noise(1000)
        slopes.add(round(float(added[-1] / added[0]), 4))  # 1 + 1/start, nearly
    assert len(slopes) > 15


def test_ways_are_drawn_by_probability_and_weight(write_wav, noise):
    t = tones(write_wav, 2)
    pulse = np.zeros(10, np.float32)
    pulse[3] = -1
    conf = {
        "apply_prob": 0.6,
        "noise": [
            {"scp": {"a": t["tone1"]}, "snr": -60, "weight": 1},
            {"scp": {"b": t["tone2"]}, "snr": -60, "weight": 2},
        ],
        "rir": {"scp": {"p": write_wav("p.wav", pulse, subtype="FLOAT")}, "weight": 3},
    }
    augment, speech = Augmenter(conf, 16000), noise(1600)
    counts = dict.fromkeys(("none", "rir", "tone1", "tone2"), 0)
    for seed in range(1000):
        result = augment(speech, np.random.default_rng(seed))
        if np.array_equal(result, speech):
            counts["none"] += 1
        elif np.abs(result + speech).max() < 1e-5:
            counts["rir"] += 1
        else:
            counts[f"tone{tones_in(result).pop()}"] += 1
    for way, expected in {"none": 0.4, "rir": 0.3, "tone1": 0.1, "tone2": 0.2}.items():
        assert abs(counts[way] / 1000 - expected) < 0.05


def test_one_channel_of_a_response_is_used(write_wav, noise):
    """The mean of these channels would be silence."""
    pulses = np.zeros((50, 2))
    pulses[10] = [1, -1]
    conf = {
        "apply_prob": 1,
        "rir": {"scp": {"p": write_wav("p.wav", pulses, subtype="FLOAT")}},
    }
    augment = Augmenter(conf, 16000)
    signs = set()
    for seed in range(20):
        result = augment(noise(500), np.random.default_rng(seed))
        assert np.abs(np.abs(result) - np.abs(noise(500))).max() < 1e-6
        signs.add(float(np.sign(result[0] * noise(500)[0])))
    assert signs == {-1.0, 1.0}


def test_noise_at_another_rate_is_converted(write_wav, noise):
    t = np.arange(8000) / 8000
    path = write_wav("n.wav", 0.3 * np.sin(2 * np.pi * 600 * t), rate=8000)
    augment = Augmenter(
        {"apply_prob": 1, "noise": [{"scp": {"n": path}, "snr": -60}]}, 16000
    )
    assert tones_in(augment(noise(8000), np.random.default_rng(0))) == {3}


def test_nothing_to_do_changes_nothing(noise):
    for conf in (
        {},
        {"apply_prob": 1.0},
        {"apply_prob": 1.0, "noise": [], "rir": None},
    ):
        assert np.array_equal(
            Augmenter(conf, 16000)(noise(9), np.random.default_rng(0)), noise(9)
        )


def test_a_list_may_have_paths_alone(tmp_path, write_wav):
    (tmp_path / "noise.scp").write_text(f"{write_wav('hum.wav', 16000)}\n")
    conf = {"apply_prob": 1, "noise": [{"scp": str(tmp_path / "noise.scp")}]}
    speech = np.zeros(8000, np.float32)
    speech[0] = 1
    assert np.any(Augmenter(conf, 16000)(speech, np.random.default_rng(0)) != speech)


def test_an_unreadable_recording_is_named(tmp_path, noise):
    (tmp_path / "noise.scp").write_text(f"hum {tmp_path}/hum.wav\n")
    conf = {"apply_prob": 1, "noise": [{"scp": str(tmp_path / "noise.scp")}]}
    with pytest.raises(
        SVError, match=r"noise\.scp: hum: .*hum\.wav: no such audio file"
    ):
        Augmenter(conf, 16000)(noise(10), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"aply_prob": 1}, "unknown key aply_prob; choose from apply_prob, noise, rir"),
        ({"apply_prob": 1.5}, "apply_prob is 1.5"),
        ({"noise": [{"snr": [0, 5]}]}, "a noise entry has no scp"),
        ({"noise": [{"scp": {"a": "x"}, "snr": [9, 5]}]}, r"snr is \[9, 5\]"),
        ({"noise": [{"scp": {"a": "x"}, "num": [0, 2]}]}, r"num is \[0, 2\]"),
        (
            {"noise": [{"scp": {"a": "x"}, "snr_of": "all"}]},
            "snr_of is all; choose from sum, each",
        ),
        ({"noise": [{"scp": {"a": "x"}, "volume": 1}]}, "noise: unknown key volume"),
        ({"noise": [{"scp": {"a": "x"}, "weight": -1}]}, "weights must be 0 or more"),
        ({"rir": {"scp": {"a": "x"}, "weight": 0}}, "at least one above 0"),
        ({"rir": {"scp": {}}}, "the rir list is empty"),
        ({"rir": {"scp": "/nowhere/rir.scp"}}, "/nowhere/rir.scp: cannot be read"),
    ],
)
def test_wrong_settings_are_reported(conf, message):
    with pytest.raises(SVError, match=message):
        Augmenter(conf, 16000)
