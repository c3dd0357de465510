#!/usr/bin/env python3
"""Make small corpora in the official layouts of VoxCeleb, MUSAN and RIRS_NOISES.

    python test/voxceleb_tree.py OUT --speakers 200

Below OUT: voxceleb1/ (dev and test, wav), voxceleb2/ (dev, AAC in m4a, or wav or flac),
trial_lists/ (the six official names), musan/ and RIRS_NOISES/. With --archives, the
corpora are archives as distributed: zips, split into vox2_dev_aac_partaa and so on, and
tar.gz. With --damage, some files are damaged; the program prints which, and how.
"""

import argparse
import itertools
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile

RATE = 16000
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
# first speaker ids of each corpus, and of VoxCeleb1 test
_VOXCELEB1_FIRST, _VOXCELEB1_TEST, _VOXCELEB2_FIRST = 10001, 10270, 12
_VOXCELEB1_TEST_SPEAKERS = 40
_CLEANED = {
    "o": "veri_test2.txt",
    "e": "list_test_all2.txt",
    "h": "list_test_hard2.txt",
}
_UNCLEANED = {"o": "veri_test.txt", "e": "list_test_all.txt", "h": "list_test_hard.txt"}


@dataclass
class Tree:
    """Folders of the corpora, and the damaged files.

    Attributes:
        bad: Damage by utterance id: ``missing`` (of VoxCeleb1 test, in the trials),
            ``truncated``, ``empty``, ``silent``, ``8 kHz`` or ``stereo``.
    """

    root: Path
    voxceleb1: Path
    voxceleb2: Path
    trial_lists: Path
    musan: Path
    rirs: Path
    bad: dict[str, str] = field(default_factory=dict)


class _File(NamedTuple):
    path: Path
    voice: int  # index of the speaker
    seed: int


def make_tree(
    root: str | Path,
    speakers: int = 200,
    *,
    dev_speakers: int = 12,
    test_speakers: int = 8,
    videos: int = 2,
    utterances: int = 2,
    seconds: tuple[float, float] = (1.2, 2.4),
    audio: str = "m4a",
    trials: int = 300,
    noises: int = 4,
    archives: bool = False,
    parts: int = 3,
    damage: bool = False,
    seed: int = 0,
) -> Tree:
    """Make all corpora below ``root``.

    Args:
        root: Output folder; must not contain a tree already.
        speakers: Speakers of VoxCeleb2 dev.
        dev_speakers: Speakers of VoxCeleb1 dev.
        test_speakers: Speakers of VoxCeleb1 test, at most 40.
        videos: Videos per speaker.
        utterances: Utterances per video.
        seconds: Minimum and maximum duration of an utterance.
        audio: Format of VoxCeleb2: ``"m4a"`` (in ``dev/aac``), ``"wav"`` or ``"flac"``
            (in ``dev/wav``).
        trials: Lines of each cleaned list, half of them target trials.
        noises: Files per kind of MUSAN, and rooms per size of RIRS_NOISES.
        archives: Write archives instead of trees.
        parts: Number of parts of each VoxCeleb dev archive.
        damage: Damage some files.
        seed: Seed of the samples.
    """
    root = Path(root)
    tree = Tree(
        root,
        *(
            root / name
            for name in (
                "voxceleb1",
                "voxceleb2",
                "trial_lists",
                "musan",
                "RIRS_NOISES",
            )
        ),
    )
    rng = np.random.default_rng(seed)
    count = itertools.count(seed * 1_000_003)
    dev = [f"id{_VOXCELEB1_FIRST + i}" for i in range(dev_speakers)]
    test = [
        f"id{_VOXCELEB1_TEST + i}"
        for i in range(min(test_speakers, _VOXCELEB1_TEST_SPEAKERS))
    ]
    train = [f"id{_VOXCELEB2_FIRST + i:05d}" for i in range(speakers)]
    below = {"m4a": "aac", "wav": "wav", "flac": "flac"}[audio]
    files: list[_File] = []
    for names, folder, suffix in (
        (dev, tree.voxceleb1 / "dev/wav", "wav"),
        (test, tree.voxceleb1 / "test/wav", "wav"),
        (train, tree.voxceleb2 / "dev" / below, audio),
    ):
        for speaker in names:
            for _ in range(videos):
                video = "".join(rng.choice(list(_LETTERS), 11))
                first = int(rng.integers(1, 300))
                for i in range(utterances):
                    path = folder / speaker / video / f"{first + i:05d}.{suffix}"
                    files.append(_File(path, int(speaker[2:]), next(count)))
    _write_all(files, seconds)
    _write_trials(tree, files, test, trials, rng)
    _write_musan(tree.musan, noises, rng)
    _write_rirs(tree.rirs, noises, rng)
    if damage:
        tree.bad = _damage(files, tree)
    if archives:
        _archive(tree, parts)
    return tree


def speech(voice: int, seconds: float, seed: int) -> np.ndarray:
    """Harmonics of a speaker's pitch, weighted by the speaker's vocal tract, in noise.

    Args:
        voice: The speaker; decides pitch and weights.
        seconds: Length.
        seed: Of what changes from utterance to utterance.

    Returns:
        float32 (S,) at 16 kHz.
    """
    of_speaker, rng = np.random.default_rng(voice), np.random.default_rng(seed)
    pitch = of_speaker.uniform(80, 320) * rng.uniform(0.97, 1.03)
    t = np.arange(int(seconds * RATE), dtype=np.float32) / RATE
    samples = np.zeros_like(t)
    for k, weight in enumerate(of_speaker.uniform(0.05, 1, 12), 1):
        phase = np.float32(rng.uniform(0, 6))
        samples += np.float32(weight / k) * np.sin(
            np.float32(2 * np.pi * pitch * k) * t + phase
        )
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 5) * t)
    samples = 0.1 * samples * syllables + 0.01 * rng.standard_normal(len(t))
    return samples.astype(np.float32)


def write_audio(
    path: Path, samples: np.ndarray, rate: int = RATE, faststart: bool = False
) -> None:
    """Write float32 (S,) or (S, C) as the suffix says: wav, flac, or m4a (AAC).

    ``faststart`` puts the index of an m4a before its data, as for streaming.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".wav", ".flac"):
        soundfile.write(path, samples, rate, subtype="PCM_16")
        return
    layout = "mono" if samples.ndim == 1 else "stereo"
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        planes = np.ascontiguousarray(samples.T.reshape(-1, len(samples)))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def utterance_id(path: Path) -> str:
    """Turn ``.../id10270/x6uYqmx31kE/00001.wav`` into its utterance id."""
    return "-".join((*path.parts[-3:-1], path.stem))


def _write_all(files: Iterable[_File], seconds: tuple[float, float]) -> None:
    def write(file: _File) -> None:
        length = np.random.default_rng((file.seed, 1)).uniform(*seconds)
        write_audio(file.path, speech(file.voice, length, file.seed))

    with ThreadPoolExecutor(
        2
    ) as pool:  # NumPy and the encoders let go of the interpreter
        list(pool.map(write, files))


def _write_trials(
    tree: Tree,
    files: list[_File],
    test: list[str],
    wanted: int,
    rng: np.random.Generator,
) -> None:
    tree.trial_lists.mkdir(parents=True)
    names = [
        "/".join(file.path.parts[-3:])
        for file in files
        if tree.voxceleb1 in file.path.parents
    ]
    for kind in _CLEANED:
        chosen = [name for name in names if kind != "o" or name[:7] in test]
        pairs = list(itertools.combinations(chosen, 2))
        lines = []
        for same in (True, False):
            group = [(a, b) for a, b in pairs if (a[:7] == b[:7]) == same]
            take = rng.permutation(len(group))[: wanted // 2 + 5]
            lines.append([f"{int(same)} {group[i][0]} {group[i][1]}\n" for i in take])
        for names_of, extra in ((_CLEANED, 0), (_UNCLEANED, 5)):
            kept = [line for group in lines for line in group[: wanted // 2 + extra]]
            (tree.trial_lists / names_of[kind]).write_text(
                "".join(kept), encoding="ascii"
            )


def _write_musan(musan: Path, noises: int, rng: np.random.Generator) -> None:
    for i in range(noises):
        noise = 0.1 * rng.standard_normal(4 * RATE)
        tone = speech(90_000 + i, 4, i) * np.sin(np.arange(4 * RATE) / 4000)
        for name, samples in (
            (f"noise/free-sound/noise-free-sound-{i:04d}", noise),
            (f"music/fma/music-fma-{i:04d}", tone),
            (f"speech/librivox/speech-librivox-{i:04d}", speech(91_000 + i, 4, i)),
        ):
            write_audio(musan / f"{name}.wav", samples.astype(np.float32))


def _write_rirs(rirs: Path, rooms: int, rng: np.random.Generator) -> None:
    decay = np.exp(-np.arange(RATE // 4) / (0.03 * RATE))
    for size in ("small", "medium", "large"):
        folder = rirs / "simulated_rirs" / f"{size}room"
        for room, i in itertools.product(range(1, rooms + 1), range(1, 3)):
            response = 0.1 * rng.standard_normal(len(decay)) * decay
            response[20] = 1  # the direct path
            name = f"Room{room:03d}/Room{room:03d}-{i:05d}.wav"
            write_audio(folder / name, (0.5 * response).astype(np.float32))
    real = rirs / "real_rirs_isotropic_noises"
    lines = []
    for i in range(rooms):
        name = f"RVB2014_type1_rir_largeroom1_near_angl{i:c>2}.wav"
        responses = 0.1 * rng.standard_normal((len(decay), 2)) * decay[:, None]
        responses[20] = 1
        write_audio(real / name, (0.5 * responses).astype(np.float32))
        lines.append(f"--rir-id {i:05d} --room-id r1 RIRS_NOISES/{real.name}/{name}\n")
        noise = 0.1 * rng.standard_normal(RATE)
        write_audio(
            real / f"RVB2014_type1_noise_largeroom1_{i}.wav", noise.astype(np.float32)
        )
    (real / "rir_list").write_text("".join(lines), encoding="ascii")


def _damage(files: list[_File], tree: Tree) -> dict[str, str]:
    """Damage files of VoxCeleb2 and of the trials, each in one way."""
    train = [file for file in files if tree.voxceleb2 in file.path.parents]
    listed = (tree.trial_lists / _CLEANED["o"]).read_text(encoding="ascii").split()[1]
    missing = tree.voxceleb1 / "test/wav" / listed
    missing.unlink()
    bad = {utterance_id(missing): "missing"}
    step = max(len(train) // 6, 1)
    kinds = ("truncated", "empty", "silent", "8 kHz", "stereo")
    for kind, (path, voice, seed) in zip(kinds, train[::step], strict=False):
        bad[utterance_id(path)] = kind
        samples = speech(voice, 2, seed)
        if kind == "truncated":
            data = path.read_bytes()
            path.write_bytes(data[: len(data) * 2 // 3])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "silent":
            write_audio(path, np.zeros_like(samples))
        elif kind == "8 kHz":
            write_audio(path, samples[::2], RATE // 2)
        else:
            write_audio(path, np.stack([samples, samples], 1))
    return bad


def _archive(tree: Tree, parts: int) -> None:
    """Replace the trees by archives with the official names and inner paths."""
    first, second = tree.voxceleb1, tree.voxceleb2
    _zip(first / "dev", "", first / "vox1_dev_wav_part", parts)
    _zip(first / "test", "", first / "vox1_test_wav.zip", 1)
    _zip(second / "dev", "dev/", second / "vox2_dev_aac_part", parts)
    for folder in (first / "dev", first / "test", second / "dev"):
        shutil.rmtree(folder)
    with tarfile.open(
        tree.musan.with_name("musan.tar.gz"), "w:gz", compresslevel=1
    ) as tar:
        tar.add(tree.musan, "musan")
    _zip(tree.rirs, "RIRS_NOISES/", tree.rirs.with_name("rirs_noises.zip"), 1)
    for name, archive in (("musan", "musan.tar.gz"), ("rirs", "rirs_noises.zip")):
        shutil.rmtree(getattr(tree, name))
        setattr(tree, name, tree.root / archive)


def _zip(folder: Path, prefix: str, target: Path, parts: int) -> None:
    whole = target.with_name(target.name + ".whole")
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, prefix + str(path.relative_to(folder)))
    if parts == 1:
        whole.rename(target)
        return
    data = whole.read_bytes()
    size = -(-len(data) // parts)
    for i in range(parts):
        letters = f"{chr(97 + i // 26)}{chr(97 + i % 26)}"
        target.with_name(target.name + letters).write_bytes(
            data[i * size : (i + 1) * size]
        )
    whole.unlink()


def main() -> None:
    """Make a tree from the command line; print its folders and damaged files."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--speakers", type=int, default=200, help="of VoxCeleb2 dev")
    parser.add_argument("--dev_speakers", type=int, default=12, help="of VoxCeleb1 dev")
    parser.add_argument(
        "--test_speakers", type=int, default=8, help="of VoxCeleb1 test, up to 40"
    )
    parser.add_argument("--videos", type=int, default=2, help="of each speaker")
    parser.add_argument("--utterances", type=int, default=2, help="of each video")
    parser.add_argument(
        "--seconds", type=float, nargs=2, default=(1.2, 2.4), help="of utterances"
    )
    parser.add_argument(
        "--audio", choices=("m4a", "wav", "flac"), default="m4a", help="VoxCeleb2's"
    )
    parser.add_argument(
        "--trials", type=int, default=300, help="lines of each cleaned list"
    )
    parser.add_argument("--noises", type=int, default=4, help="of each kind")
    parser.add_argument("--archives", action="store_true", help="archives, not trees")
    parser.add_argument("--parts", type=int, default=3, help="of each dev archive")
    parser.add_argument("--damage", action="store_true", help="spoil some files")
    parser.add_argument("--seed", type=int, default=0)
    tree = make_tree(**vars(parser.parse_args()))
    for name in ("voxceleb1", "voxceleb2", "trial_lists", "musan", "rirs"):
        print(name, getattr(tree, name))
    for utterance, kind in tree.bad.items():
        print("bad", utterance, kind)


if __name__ == "__main__":
    main()
