"""Speech is found in real speech, and not in noise, silence, tones and clicks."""

import warnings

import numpy as np
import pytest
import soundfile
import torch

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.inference import speech_activity
from espnet2_sv.inference.embedder import embed_wav_scp
from espnet2_sv.inference.speech_activity import detector_version, speech_detector
from espnet2_sv.inference.speech_limits import SpeechLimits

pytest.importorskip("silero_vad")
RATE = 16000


@pytest.fixture(scope="module")
def detector():
    return speech_detector()


@pytest.fixture(scope="module")
def waves(an4):
    return {name: read_audio(path, RATE) for name, path in an4.items()}


def no_speech(kind: str, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(int(rng.uniform(0.3, 12) * RATE)) / RATE
    noise = rng.standard_normal(len(t))
    pitch = rng.uniform(40, 2000)
    return {
        "silence": 0 * t,
        "white noise": rng.uniform(0.001, 0.3) * noise,
        "brown noise": 0.002 * np.cumsum(noise) / np.sqrt(len(t) / RATE),
        "a tone": 0.3 * np.sin(2 * np.pi * pitch * t),
        "hum": 0.2 * np.sin(2 * np.pi * 50 * t) + 0.1 * np.sin(2 * np.pi * 150 * t),
        "clicks": np.where(np.arange(len(t)) % 8000 < 40, 0.9, 0),
        "a crackle": 0.2 * noise * (rng.uniform(size=len(t)) < 0.01),
    }[kind].astype(np.float32)


KINDS = ("silence", "white noise", "brown noise", "a tone", "hum", "clicks")
KINDS += ("a crackle",)


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_found_where_there_is_none(detector, kind):
    rng = np.random.default_rng(len(kind))
    found = detector.seconds([no_speech(kind, rng) for _ in range(2)], RATE)
    assert max(found) < SpeechLimits.refuse_below


def test_it_is_found_in_speech(detector, waves):
    for name, seconds in zip(
        waves, detector.seconds(list(waves.values()), RATE), strict=True
    ):
        duration = len(waves[name]) / RATE
        assert SpeechLimits.refuse_below < seconds < duration
        assert seconds > 0.4 * duration  # AN4 is cut closely


def test_what_is_found_does_not_depend_on_the_batch(detector, waves):
    together = detector.seconds(list(waves.values()), RATE)
    alone = [detector.seconds([wave], RATE)[0] for wave in waves.values()]
    assert together == pytest.approx(alone, abs=0.04)  # at most one step of 32 ms


def test_long_recordings_are_as_one_pass_of_silero_vad(detector, waves):
    """Rows of 10 s side by side against the network's own loop."""
    rng = np.random.default_rng(0)
    parts = []
    for name in rng.choice(list(waves), 24):
        parts += [waves[name], 1e-3 * rng.standard_normal(rng.integers(RATE))]
    wave = torch.from_numpy(np.concatenate(parts).astype(np.float32))
    from silero_vad import get_speech_timestamps, load_silero_vad

    with warnings.catch_warnings(action="ignore"):  # torch.jit.load is deprecated
        network = load_silero_vad()
    sections = get_speech_timestamps(wave, network)
    expected = sum(part["end"] - part["start"] for part in sections) / RATE
    assert len(wave) > 40 * RATE
    assert detector.seconds([wave], RATE)[0] == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_any_sampling_rate(detector, an4, rate):
    path = an4["cen8-fcaw-b"]
    expected = detector.seconds([read_audio(path, RATE)], RATE)
    found = detector.seconds([read_audio(path, rate)], rate)
    assert found == pytest.approx(expected, abs=0.3)


def test_it_leaves_torchs_threads_alone():
    before = torch.get_num_threads()
    speech_activity._load.cache_clear()
    torch.set_num_threads(2)
    try:
        speech_detector(True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_it_is_an_extra(monkeypatch):
    assert speech_detector(False) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert speech_detector() is None and detector_version() is None
    with pytest.raises(SVError, match="pip install silero-vad"):
        speech_detector(True)


def lists(tmp_path, an4):
    rng = np.random.default_rng(0)
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, 0.1 * rng.standard_normal(2 * RATE), RATE)
    wavs = {**{name: str(path) for name, path in an4.items()}, "noise": str(noise)}
    text = "".join(f"{name} {path}\n" for name, path in sorted(wavs.items()))
    (tmp_path / "wav.scp").write_text(text)
    return sorted(wavs)


def test_seconds_of_a_list_are_written_and_resumed(
    detector, speaker_exp, waves, an4, tmp_path, monkeypatch
):
    names = lists(tmp_path, an4)
    out = tmp_path / "out"
    call = (speaker_exp, tmp_path / "wav.scp", out)
    for part in ("1/2", "2/2"):
        embed_wav_scp(*call, shard_size=2, shard=part)
    report = embed_wav_scp(*call, shard_size=2)
    assert (report.embedded, report.new) == (len(names), 0)
    table = read_two_column(out / "utt2speech")
    assert list(table) == names
    assert float(table["noise"]) == 0
    for name, wave in waves.items():
        [expected] = detector.seconds([wave], RATE)
        assert float(table[name]) == pytest.approx(expected, abs=0.04)
    vectors = (out / "xvector.ark").read_bytes()
    assert embed_wav_scp(*call, shard_size=2).new == 0

    report = embed_wav_scp(*call, shard_size=2, vad=False)
    assert report.new == len(names) and not (out / "utt2speech").exists()
    assert (out / "xvector.ark").read_bytes() == vectors
