"""A generated corpus with VoxCeleb2's number of speakers, and noises, for speeds."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from bench.data_corpus import make_corpus, response, shaped_noise, write, write_table

from check_gpu.results import Context

SPEAKERS = 5994  # of VoxCeleb2's development set
SECONDS_OF_NOISE, SECONDS_OF_MUSIC = 30, 60
# Files, speakers, utterances a speaker
SIZE, SMALL_SIZE = (200, SPEAKERS, 2), (20, 10, 2)
KINDS = {"musan_noise": 30, "musan_music": 60, "musan_speech": 60}  # seconds


def corpus(context: Context) -> Path:
    """Return a folder with ``train``, ``valid`` and lists of noises."""
    return context.folder("corpus", functools.partial(make, context.small))


def make(small: bool, folder: Path) -> None:
    """Write few recordings and many utterances of them."""
    files, speakers, each = SMALL_SIZE if small else SIZE
    # wav.scp names files by their final place
    audio = folder.parent / "audio"
    make_corpus(audio, files, "wav")
    wavs = sorted((audio / "audio").iterdir())
    names = [f"spk{s:05d}-{u}" for s in range(speakers) for u in range(each)]
    train = folder / "train"
    train.mkdir()
    write_table(
        train / "wav.scp", {n: wavs[i % len(wavs)] for i, n in enumerate(names)}
    )
    write_table(train / "utt2spk", {n: n.partition("-")[0] for n in names})
    spk2utt = {
        names[i][:8]: " ".join(names[i : i + each]) for i in range(0, len(names), each)
    }
    write_table(train / "spk2utt", spk2utt)
    valid = folder / "valid"
    valid.mkdir()
    write_table(valid / "wav.scp", {f"v{i}": path for i, path in enumerate(wavs[:3])})
    (valid / "trials").write_text("v0 v1 target\nv0 v2 nontarget\n")
    rng, count = np.random.default_rng(0), 2 if small else 8
    for kind, seconds in KINDS.items():
        paths = {
            f"{kind}{i}": write(
                audio / kind / f"{i}.wav", shaped_noise(10 if small else seconds, rng)
            )
            for i in range(max(count, 8))
        }
        write_table(folder / f"{kind}.scp", paths)
    rooms = {
        f"r{i}": write(audio / "rirs" / f"{i}.wav", response(rng)) for i in range(20)
    }
    write_table(folder / "rirs.scp", rooms)


def with_noises(conf: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Let a configuration read the generated noises."""
    augment = conf["augment_conf"]
    for entry in [*augment["noise"], augment["rir"]]:
        entry["scp"] = str(folder / Path(entry["scp"]).name)
    return conf


def data_options(folder: Path) -> list[str]:
    """Return the options of a training on it."""
    return [
        *("--spk2utt", f"{folder}/train/spk2utt"),
        *("--valid_trials", f"{folder}/valid/trials"),
        *(
            "--train_data_path_and_name_and_type",
            f"{folder}/train/wav.scp,speech,sound",
        ),
        *(
            "--valid_data_path_and_name_and_type",
            f"{folder}/valid/wav.scp,speech,sound",
        ),
    ]
