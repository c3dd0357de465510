"""Shaped noise with the durations of VoxCeleb, MUSAN and RIRS_NOISES."""

from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

RATE = 16000
UTTERANCE_SECONDS = (4.0, 20.0, 8.0)  # VoxCeleb's minimum, (nearly) maximum and mean
# number of recordings, mean duration in seconds
RECORDINGS = {"noise": (30, 60), "music": (20, 200), "babble": (20, 300)}
ROOMS, ROOM_SECONDS = 200, 1.0
_RESONANCES = np.poly([0.97 * np.exp(1j * w) for w in (0.2, -0.2, 0.6, -0.6)]).real
_LEVEL = 0.1  # root mean square, similar to MUSAN and VoxCeleb


def make_corpus(folder: Path, utterances: int, suffix: str, seed: int = 0) -> Path:
    """Write a data directory (wav.scp, utt2spk, spk2utt), ten utterances per speaker.

    Args:
        folder: Output folder.
        utterances: Number of utterances.
        suffix: ``wav`` or ``flac``.
        seed: Seed of the audio, which does not depend on the suffix.
    """
    rng = np.random.default_rng(seed)
    least, most, mean = UTTERANCE_SECONDS
    wavs, speakers = {}, {}
    for i in range(utterances):
        seconds = min(least + rng.exponential(mean - least), most)
        utt = f"id{i // 10:05d}-{i % 10:05d}"
        wavs[utt] = write(
            folder / "audio" / f"{utt}.{suffix}", shaped_noise(seconds, rng)
        )
        speakers.setdefault(utt[:7], []).append(utt)
    write_table(folder / "wav.scp", wavs)
    write_table(
        folder / "utt2spk", {u: s for s, utts in speakers.items() for u in utts}
    )
    write_table(folder / "spk2utt", {s: " ".join(utts) for s, utts in speakers.items()})
    return folder


def make_noises(folder: Path, seed: int = 1) -> dict[str, Path]:
    """Write the lists ``noise``, ``music``, ``babble`` and ``rir``; return paths."""
    rng = np.random.default_rng(seed)
    lists = {}
    for kind, (count, mean) in RECORDINGS.items():
        wavs = {}
        for i in range(count):
            seconds = mean * rng.uniform(0.5, 1.5)
            wavs[f"{kind}{i}"] = write(
                folder / kind / f"{i}.wav", shaped_noise(seconds, rng)
            )
        lists[kind] = write_table(folder / f"{kind}.scp", wavs)
    rooms = {}
    for i in range(ROOMS):
        rooms[f"room{i}"] = write(folder / "rir" / f"{i}.wav", response(rng))
    return lists | {"rir": write_table(folder / "rir.scp", rooms)}


def shaped_noise(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Noise with a spectrum that falls as speech's does, in syllables.

    In flac it takes about half the bytes of a wav, as speech does, so that decoding
    costs as much.
    """
    samples = int(seconds * RATE)
    x = lfilter([1.0], _RESONANCES, rng.standard_normal(samples).astype(np.float32))
    t = np.arange(samples) / RATE
    x = x * (1.05 + np.sin(2 * np.pi * 4 * t + rng.uniform(0, 6)))
    return (_LEVEL * x / np.sqrt(np.mean(x**2))).astype(np.float32)


def response(rng: np.random.Generator) -> np.ndarray:
    """A direct path and a tail that decays by 60 dB in 0.2 to 0.8 s."""
    t = np.arange(int(ROOM_SECONDS * RATE)) / RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / rng.uniform(0.2, 0.8))
    delay = int(rng.uniform(0.001, 0.01) * RATE)
    rir = np.concatenate([np.zeros(delay), 0.1 * tail])[: len(t)]
    rir[delay] = 1.0
    return 0.5 * rir.astype(np.float32)


def write(path: Path, samples: np.ndarray) -> Path:
    """Write 16-bit audio."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def write_table(path: Path, mapping: dict) -> Path:
    """Write ``key value`` lines."""
    path.write_text("".join(f"{key} {value}\n" for key, value in mapping.items()))
    return path
