"""Speech for the data tests: real AN4 recordings, and synthetic tones and noise."""

import importlib.util
import tarfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile

# the same examples in every run, however busy the machine
hypothesis.settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def an4(tmp_path_factory):
    """The folder of AN4 recordings, noises and room responses in the espnet wheel."""
    package = importlib.util.find_spec("egs3")
    archive = (
        Path(package.submodule_search_locations[0])
        / "mini_an4/esp2_asr/downloads.tar.gz"
    )
    folder = tmp_path_factory.mktemp("an4")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "downloads"


@pytest.fixture(scope="session")
def an4_wavs(an4):
    """Path of each AN4 recording by utterance id (its middle part is the speaker)."""
    return {path.stem: str(path) for path in sorted(an4.glob("an4/wav/**/*.sph"))}


@pytest.fixture
def noise():
    """Return a function that makes float32 white noise of rms 0.1."""

    def make(samples, channels=1, seed=0):
        x = 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))
        return (
            x.astype(np.float32).squeeze(1) if channels == 1 else x.astype(np.float32)
        )

    return make


@pytest.fixture
def write_wav(tmp_path, noise):
    """Return a function that writes a recording, by default noise, and its path."""

    def write(name, samples=16000, rate=16000, **kwargs):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = noise(samples) if isinstance(samples, int) else samples
        soundfile.write(path, data, rate, **kwargs)
        return str(path)

    return write


@pytest.fixture
def write_m4a(tmp_path, voxceleb_tree):
    """A function that encodes float32 samples (S,) or (S, 2) as AAC in an m4a file.

    ``faststart`` puts its index before the data, as for streaming.
    """

    def write(name, samples, rate=16000, faststart=False):
        voxceleb_tree.write_audio(tmp_path / name, samples, rate, faststart)
        return str(tmp_path / name)

    return write
