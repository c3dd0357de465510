#!/usr/bin/env python3
"""Throughput of training batches per core, compared with stock ESPnet's preprocessing.

Both sides read the same files, crop 3 s, augment two thirds of the crops in one of four
ways and collate batches, in one thread. "stock" is ``ESPnetDataset`` with
``SpkPreprocessor`` and ``CommonCollateFn``. The files are synthetic, with durations as
in VoxCeleb, MUSAN and RIRS_NOISES.

Options of both sides are matched as far as possible. Differences by design:

- Stock has no speed perturbation during training; its recipes write copies to disk. So
  one comparison is without; in the other, ESPnet's own ``speed_perturb`` is applied
  with one of three speeds before its preprocessing. A training that reads copies is the
  first column of stock.
- Stock draws noise (probability 1/2) and reverberation (1/6) independently, so that one
  crop in twelve gets both; here it is one of four ways (2/3 in all). The number of
  crops with each is the same.
- Stock draws an SNR for each recording of a babble, as does ``snr_of: each`` here.
- Stock adds 1e-4 to the powers in the SNR, which is negligible for recordings as loud
  as these.
- Stock scales a response to unit energy; here speech keeps its power, as in Kaldi: the
  table shows both levels. Neither changes the ratio of late energy, later than 50 ms
  after the peak of the response. Stock does not align responses, which costs nothing.

The last table has the set-up time of a training with VoxCeleb2 at three speeds, and the
memory of the process afterwards, imports included.

    python tools/bench/data.py    # about three minutes, 300 MB below --folder
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from data_corpus import RATE, make_corpus, make_noises, write_table
from networks import in_turn, machine, median_ratio, parser

from espnet2.layers.augmentation import speed_perturb
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.dataset import ESPnetDataset
from espnet2.train.preprocessor import SpkPreprocessor
from espnet2_sv.data.augment import Augmenter
from espnet2_sv.data.iter_factory import TrainIterFactory
from espnet2_sv.data.labels import SpeakerLabels, Speeds

SECONDS = 3.0
BATCH = 20
# signal-to-noise ratios in dB and numbers of recordings, as in Kaldi's VoxCeleb recipe
WAYS = {
    "noise": ([0, 15], [1, 1]),
    "music": ([5, 15], [1, 1]),
    "babble": ([13, 20], [3, 8]),
}
PROBABILITY = 2 / 3
LATE = 0.05  # seconds after the direct path
UTTERANCES, SPEAKERS = 1_092_009, 5994  # VoxCeleb2 dev
SPEEDS = (0.9, 1.0, 1.1)


def main() -> None:
    """Print Markdown tables."""
    options = parser(__doc__.splitlines()[0], repeats=5)
    options.add_argument("--utterances", type=int, default=400, help="per round")
    options.add_argument(
        "--draws", type=int, default=1000, help="for each row of statistics"
    )
    options.add_argument("--folder", type=Path, help="keep what is generated here")
    options.set_defaults(threads=1)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = args.folder or Path(folder)
        lists = make_noises(root / "noise")
        print(f"{machine(args.threads)}; medians of {args.repeats}\n")
        print(
            "| utt/s from | stock | here | ratio | stock, 3 speeds | here, 3 speeds |"
            " ratio |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|")
        for suffix in ("wav", "flac"):
            corpus = make_corpus(
                root / suffix, args.utterances // BATCH * BATCH, suffix
            )
            print(throughput(suffix, corpus, lists, args.repeats), flush=True)
        print("\n| mean (standard deviation) in dB | stock | here |\n|---|---:|---:|")
        for row in statistics_rows(root / "wav", lists, args.draws):
            print(row, flush=True)
        print(
            "\n| set-up for | entries | s | memory GiB | its peak"
            " |\n|---|---:|---:|---:|---:|"
        )
        print(full_size(root / "full"))


def throughput(name: str, corpus: Path, lists: dict[str, Path], repeats: int) -> str:
    """Return a row: utterances per second of each side."""
    sides = {
        "stock": stock_epoch(corpus, lists, (1.0,)),
        "here": own_epoch(corpus, lists, (1.0,)),
        "stock, speeds": stock_epoch(corpus, lists, SPEEDS),
        "here, speeds": own_epoch(corpus, lists, SPEEDS),
    }
    counts = {side: epoch() for side, epoch in sides.items()}
    seconds = in_turn(sides, repeats)
    # seconds per utterance, since an epoch with speeds is three times as long
    each = {side: [t / counts[side] for t in times] for side, times in seconds.items()}
    rate = {side: 1 / statistics.median(times) for side, times in each.items()}
    cells = [name]
    for speeds in ("", ", speeds"):
        theirs, ours = f"stock{speeds}", f"here{speeds}"
        times = median_ratio(each[theirs], each[ours])
        cells += [f"{rate[theirs]:.0f}", f"{rate[ours]:.0f}", f"{times:.2f}"]
    return f"| {' | '.join(cells)} |"


def own_conf(
    lists: dict[str, Path], ways=(*WAYS, "rir"), probability: float = PROBABILITY
) -> dict:
    """Return the augment_conf of this project with some of the ways."""
    noise = [
        {
            "scp": str(lists[way]),
            "snr": WAYS[way][0],
            "num": WAYS[way][1],
            "snr_of": "each",
        }
        for way in ways
        if way != "rir"
    ]
    rir = {"scp": str(lists["rir"])} if "rir" in ways else None
    return {"apply_prob": probability, "noise": noise, "rir": rir}


def own_factory(
    corpus: Path, speeds, batch_size: int, conf: dict | None
) -> TrainIterFactory:
    """Return the iterator factory of a training."""
    return TrainIterFactory(
        corpus / "wav.scp",
        SpeakerLabels.from_spk2utt(corpus / "spk2utt"),
        corpus / "utt2spk",
        sample_rate=RATE,
        crop_seconds=SECONDS,
        batch_size=batch_size,
        seed=0,
        augment_conf=conf,
        speeds=Speeds(speeds),
    )


def own_epoch(corpus: Path, lists: dict[str, Path], speeds) -> Callable[[], int]:
    """Return a function that iterates over the next epoch and counts utterances."""
    factory = own_factory(corpus, speeds, BATCH, own_conf(lists))
    epochs = iter(range(1, 1_000_000))
    return lambda: sum(len(utts) for utts, _ in factory.build_iter(next(epochs)))


def stock(
    corpus: Path,
    lists: dict[str, Path],
    ways=(*WAYS, "rir"),
    probability: float = PROBABILITY,
) -> SpkPreprocessor:
    """Return ESPnet's preprocessor with some of the ways, equally probable."""
    noises = [way for way in ways if way != "rir"]
    return SpkPreprocessor(
        train=True,
        target_duration=SECONDS,
        spk2utt=str(corpus / "spk2utt"),
        sample_rate=RATE,
        rir_scp=str(lists["rir"]),
        rir_apply_prob=probability / len(ways) if "rir" in ways else 0.0,
        noise_info=[
            (1.0, str(lists[way]), WAYS[way][1], WAYS[way][0]) for way in noises
        ],
        noise_apply_prob=probability * len(noises) / len(ways),
    )


def stock_epoch(corpus: Path, lists: dict[str, Path], speeds) -> Callable[[], int]:
    """Return a function that iterates over the corpus and counts utterances."""
    rng, preprocess = np.random.default_rng(0), stock(corpus, lists)

    def play(utt: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        speech = torch.from_numpy(data["speech"])
        data["speech"] = speed_perturb(speech, RATE, rng.choice(speeds)).numpy()
        return preprocess(utt, data)

    dataset = ESPnetDataset(
        [
            (str(corpus / "wav.scp"), "speech", "sound"),
            (str(corpus / "utt2spk"), "spk_labels", "text"),
        ],
        preprocess=play if len(speeds) > 1 else preprocess,
    )
    utts = [line.split()[0] for line in (corpus / "utt2spk").read_text().splitlines()]

    def epoch() -> int:
        batches = rng.permutation(utts).reshape(-1, BATCH).tolist()
        loader = torch.utils.data.DataLoader(
            dataset, batch_sampler=batches, collate_fn=CommonCollateFn()
        )
        return sum(len(utts) for utts, _ in loader)

    return epoch


def statistics_rows(corpus: Path, lists: dict[str, Path], draws: int):
    """Yield rows with statistics of both sides' augmentation."""
    speech = crops(corpus, draws)
    pulse = np.zeros(int(SECONDS * RATE), np.float32)
    pulse[len(pulse) // 2] = 1.0
    measures = [
        (
            f"SNR of {way}, {num[0]} to {num[1]} at {snr[0]} to {snr[1]} dB",
            way,
            speech,
            ratio,
        )
        for way, (snr, num) in WAYS.items()
    ]
    measures += [
        ("level after reverberation", "rir", speech, lambda x, y: decibel(y, x)),
        ("late energy of responses", "rir", [pulse] * draws, late_energy),
    ]
    for name, way, audio, measure in measures:
        yield f"| {name} | {both(corpus, lists, way, audio, measure)} |"


def both(
    corpus: Path, lists: dict[str, Path], way: str, speech, measure: Callable
) -> str:
    """Return stock's and our cell of ``measure(before, after)`` for one way."""
    theirs = stock(corpus, lists, (way,), 1.0)._apply_data_augmentation
    augmenter, rng = (
        Augmenter(own_conf(lists, (way,), 1.0), RATE),
        np.random.default_rng(0),
    )
    sides = theirs, lambda x: augmenter(x, rng)
    values = [[measure(x, side(x)) for x in speech] for side in sides]
    return " | ".join(f"{np.mean(v):.2f} ({np.std(v):.2f})" for v in values)


def ratio(speech: np.ndarray, noisy: np.ndarray) -> float:
    """Signal-to-noise ratio in dB."""
    return decibel(speech, noisy - speech)


def decibel(a: np.ndarray, b: np.ndarray) -> float:
    """Ratio of powers in dB."""
    return 10 * np.log10(np.mean(a.astype(float) ** 2) / np.mean(b.astype(float) ** 2))


def late_energy(_, response: np.ndarray) -> float:
    """Ratio of a response's energy later than 50 ms after its peak, in dB."""
    late = int(np.argmax(np.abs(response))) + int(LATE * RATE)
    energy = response.astype(float) ** 2
    return 10 * np.log10(energy[late:].sum() / energy.sum())


def crops(corpus: Path, count: int) -> list[np.ndarray]:
    """Return ``count`` beginnings of utterances, float32 (S,), repeated if needed."""
    paths = [
        line.split()[1] for line in (corpus / "wav.scp").read_text().splitlines()[:100]
    ]
    frames = int(SECONDS * RATE)
    speech = [soundfile.read(path, frames=frames, dtype="float32")[0] for path in paths]
    return [speech[i % len(speech)] for i in range(count)]


def full_size(folder: Path) -> str:
    """Return a row: seconds and memory of setting up an epoch, in a new process."""
    utts = {
        f"id{s:05d}-{i // 4:011d}-{i % 4:05d}": f"id{s:05d}"
        for s in range(SPEAKERS)
        for i in range(UTTERANCES // SPEAKERS + (s < UTTERANCES % SPEAKERS))
    }
    folder.mkdir(parents=True, exist_ok=True)
    wavs = {
        u: f"/data/corpora/voxceleb2/dev/aac/{u.replace('-', '/')}.m4a" for u in utts
    }
    write_table(folder / "wav.scp", wavs)
    write_table(folder / "utt2spk", utts)
    write_table(folder / "spk2utt", dict.fromkeys(utts.values(), "any"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, memory, peak, entries = pool.apply(set_up, (folder,))
    return (
        f"| VoxCeleb2 at 3 speeds | {entries:,} | {seconds:.1f} | {memory:.2f} |"
        f" {peak:.2f} |"
    )


def set_up(folder: Path) -> tuple[float, float, float, int]:
    """Set up an epoch; return seconds, resident and peak memory (GiB), and entries."""
    import espnet2_sv.tasks.sv  # noqa: F401 (as in a training process)

    start = time.perf_counter()
    factory = own_factory(folder, SPEEDS, 512, None)
    next(iter(factory.sampler.generate(1)))
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    # e.g. "VmRSS:	  123456 kB"
    memory = {
        key: int(status.split(key)[1].split()[0]) / 2**20
        for key in ("VmRSS:", "VmHWM:")
    }
    return seconds, memory["VmRSS:"], memory["VmHWM:"], len(factory.dataset)


if __name__ == "__main__":
    main()
