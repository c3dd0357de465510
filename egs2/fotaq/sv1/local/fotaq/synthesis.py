"""Sentences spoken by espeak-ng and flite, by as many voices as can be had from them.

Each sentence has its own voice, speed, pitch and vocal tract length, which is what
resampling changes.
"""

import io
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from espnet2_sv.data.job_split import in_processes
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

FLITE_VOICES = ("awb", "kal16", "rms", "slt")
ACCENTS = (
    *("en-029", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
    *("en-gb-x-rp", "en-us", "en-us-nyc"),
)
# Those of espeak-ng's variants that can be understood: no whispers and robots
VARIANTS = (
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2"),
    *("Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "adam"),
    *("anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david"),
    *("ed", "edward", "edward2", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa"),
    *("gustave", "iven", "iven2", "john", "klatt", "klatt2", "klatt3", "klatt4"),
    *("linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max"),
    *("michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob"),
    *("robert", "sandro", "shelby", "steph", "steph2", "travis", "victor", "zac"),
)
_FLITE_SHARE = 0.5  # of the sentences; its voices are recorded speech
_SILENCE = 1e-3  # of full scale
_MARGIN = 0.1  # seconds kept before and after the speech
_SHORTEST = 0.3  # seconds of speech; less means that a program said nothing
_CHUNK = 100  # sentences per task of a worker process


class Sentence(NamedTuple):
    """What is to be said, and the name of the utterance."""

    name: str
    text: str


class _Task(NamedTuple):
    sentences: list[Sentence]
    outdir: Path
    rate: int
    seed: int
    unpacked: Path | None


def synthesise(
    sentences: Mapping[str, str],
    outdir: str | os.PathLike,
    rate: int,
    seed: int = 0,
    nj: int = 1,
    unpacked: str | os.PathLike | None = None,
) -> dict[str, str]:
    """Write each sentence to ``outdir/NAME.flac``, 16 bit, mono; keep what is there.

    An utterance depends on its name, its text and the seed only.

    Args:
        sentences: Texts by name.
        outdir: Folder of the recordings.
        rate: Sampling rate in Hz.
        seed: Seed of the voices.
        nj: Number of processes.
        unpacked: Folder with the contents of packages that are not installed.

    Returns:
        The paths by name.

    Raises:
        SVError: A program is missing, or does not speak.
    """
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    paths = {name: outdir / f"{name}.flac" for name in sentences}
    missing = [
        Sentence(name, text)
        for name, text in sentences.items()
        if not paths[name].exists()
    ]
    place = None if unpacked is None else Path(unpacked).absolute()
    tasks = [
        _Task(missing[start : start + _CHUNK], outdir, rate, seed, place)
        for start in range(0, len(missing), _CHUNK)
    ]
    for _ in in_processes(_speak_all, tasks, nj):
        pass
    return {name: str(path) for name, path in paths.items()}


def _speak_all(task: _Task) -> None:
    for sentence in task.sentences:
        wave = speak(sentence, task.rate, task.seed, task.unpacked)
        with atomic_write(task.outdir / f"{sentence.name}.flac", "wb") as f:
            soundfile.write(f, wave, task.rate, format="FLAC", subtype="PCM_16")


def speak(
    sentence: Sentence, rate: int, seed: int, unpacked: Path | None = None
) -> np.ndarray:
    """Return a sentence as a waveform (S,) at some sampling rate in Hz.

    Args:
        sentence: What to say.
        rate: Sampling rate in Hz.
        seed: Seed of the voice.
        unpacked: As in :func:`synthesise`.

    Raises:
        SVError: A program is missing, or does not speak.
    """
    chance = random.Random(f"{seed} {sentence.name}")
    text = sentence.text.lower()  # capital letters would be spelt
    if chance.random() < _FLITE_SHARE:
        stretch = chance.uniform(0.8, 1.25)
        words = ["flite", "-voice", chance.choice(FLITE_VOICES)]
        words += ["--setf", f"duration_stretch={stretch:.2f}", "-t", text]
        words += ["-o", "/dev/stdout"]
        tract = chance.uniform(0.84, 1.22)  # four voices have to be many
    else:
        voice = f"{chance.choice(ACCENTS)}+{chance.choice(VARIANTS)}"
        words = ["espeak-ng", "-v", voice, "-s", str(chance.randint(130, 210))]
        words += ["-p", str(chance.randint(20, 80)), "--stdout", text]
        tract = chance.uniform(0.92, 1.1)
    wave, spoken_rate = _decode(_run(words, unpacked), words)
    wave = _trim(soxr.resample(wave, spoken_rate * tract, rate), rate, words)
    return wave / np.abs(wave).max() * 10 ** (-chance.uniform(1, 12) / 20)


def _run(words: Sequence[str], unpacked: Path | None) -> bytes:
    """Return what a program writes, which may be in the folder ``unpacked``."""
    environment = dict(os.environ)
    if unpacked is not None:
        places = _places(unpacked)
        for name in ("LD_LIBRARY_PATH", "PATH"):
            if own := environment.get(name):
                places = places | {name: f"{places[name]}:{own}"}
        environment |= places
    program = shutil.which(words[0], path=environment["PATH"])
    if program is None:
        raise SVError(f"{words[0]} is missing; install Debian's package {words[0]}")
    done = subprocess.run([program, *words[1:]], capture_output=True, env=environment)
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise SVError(f"{shlex.join(words)}: failed: {reason or done.returncode}")
    return done.stdout


@cache
def _places(unpacked: Path) -> dict[str, str]:
    """Return where libraries, programs and data of unpacked packages are."""
    libraries = [str(d) for d in unpacked.glob("usr/lib/*-linux-*") if d.is_dir()]
    libraries += [f"{d}/pulseaudio" for d in libraries]
    places = {"LD_LIBRARY_PATH": ":".join(libraries), "PATH": f"{unpacked}/usr/bin"}
    for data in unpacked.glob("usr/lib/*/espeak-ng-data"):
        places["ESPEAK_DATA_PATH"] = str(data.parent)
    return places


def _decode(data: bytes, words: Sequence[str]) -> tuple[np.ndarray, int]:
    try:
        return soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as e:
        raise SVError(f"{shlex.join(words)}: gave no audio ({e})") from e


def _trim(wave: np.ndarray, rate: int, words: Sequence[str]) -> np.ndarray:
    heard = np.flatnonzero(np.abs(wave) > _SILENCE)
    if len(heard) < _SHORTEST * rate / 2:  # waves cross zero
        raise SVError(f"{shlex.join(words)}: said nothing")
    margin = round(_MARGIN * rate)
    return wave[max(0, heard[0] - margin) : heard[-1] + margin]
