"""A tiny corpus that every layer of the tests can train and verify on."""

import os

# Before torch is imported anywhere: tests share few cores.
if "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000


@dataclasses.dataclass
class Corpus:
    """A Kaldi data directory with a trial list over all its utterances."""

    root: Path

    def __getattr__(self, name):
        return str(self.root / name)


def voice(pitch: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A buzz at a speaker's pitch in noise, enough to distinguish speakers."""
    t = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(
        np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) / k for k in range(1, 9)
    )
    return (0.1 * buzz + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def make_corpus(
    root: Path, speakers: int, utterances: int, seconds=(0.9, 1.4)
) -> Corpus:
    rng = np.random.default_rng(0)
    (root / "wav").mkdir(parents=True)
    wav_scp, utt2spk, spk2utt = [], [], []
    for s in range(speakers):
        names = [f"spk{s:02d}-utt{u:02d}" for u in range(utterances)]
        spk2utt.append(f"spk{s:02d} {' '.join(names)}")
        for name in names:
            path = root / "wav" / f"{name}.wav"
            soundfile.write(path, voice(90 + 35 * s, rng.uniform(*seconds), rng), RATE)
            wav_scp.append(f"{name} {path}")
            utt2spk.append(f"{name} spk{s:02d}")
    names = [line.split() for line in utt2spk]
    trials = [
        f"{a} {b} {'target' if sa == sb else 'nontarget'}"
        for (a, sa), (b, sb) in itertools.combinations(names, 2)
    ]
    tables = {
        "wav.scp": wav_scp,
        "utt2spk": utt2spk,
        "spk2utt": spk2utt,
        "trials": trials,
    }
    for table, lines in tables.items():
        (root / table).write_text("".join(f"{line}\n" for line in lines))
    return Corpus(root)


def pytest_configure(config):
    """Know all marks with any of the plugins that this project and ESPnet use."""
    for mark in (
        "recipe: runs a whole recipe; minutes",
        "timeout(seconds): ends a test that hangs; pytest-timeout's",
        "execution_timeout(seconds): instead of ESPnet's 10 s; ten times what it takes",
    ):
        config.addinivalue_line("markers", mark)


@pytest.fixture(autouse=True)
def no_options_of_pytest(monkeypatch):
    """ESPnet's tasks read sys.argv when asked for their defaults."""
    monkeypatch.setattr("sys.argv", ["pytest"])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """Four speakers of three utterances, about one second each, 16 kHz."""
    return make_corpus(tmp_path_factory.mktemp("corpus"), speakers=4, utterances=3)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """Small random ASR models of many kinds and speaker adaptors on them."""
    from adaptors import Zoo

    return Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="session")
def asr_fixtures():
    """The module that makes ASR models with the settings of published ones."""
    import asr_models

    return asr_models


@pytest.fixture(scope="session")
def voxceleb_tree():
    """The module that makes corpora in the layout of VoxCeleb."""
    import voxceleb_tree

    return voxceleb_tree


@pytest.fixture(scope="session")
def queen_archive():
    """The module that makes archives of the game whose voices fotaq takes."""
    import queen_archive

    return queen_archive
