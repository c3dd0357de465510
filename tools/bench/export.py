#!/usr/bin/env python3
"""Compare exported speaker models with the models in PyTorch: size, time, accuracy.

python tools/bench/export.py                    # size and time; about three minutes
python tools/bench/export.py --memory true      # peak memory of a process; two minutes
python tools/bench/export.py --cores true       # ways to use all cores; a minute
python tools/bench/export.py --model SOURCE --wav_scp wav.scp --trials trials
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from networks import in_turn, machine, median_ratio, parser, speech

from espnet2.utils.types import str2bool
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.heads import MFAHead
from espnet2_sv.heads.pooled import PooledHead
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.packaging.export import to_onnx
from espnet2_sv.packaging.onnx_check import open_session
from espnet2_sv.scoring.cosine import length_normalise
from espnet2_sv.scoring.metrics import equal_error_rate

CONFORMER = {
    "output_size": 256,
    "attention_heads": 4,
    "linear_units": 2048,
    "num_blocks": 12,
    "macaron_style": True,
    "rel_pos_type": "latest",
    "cnn_module_kernel": 31,
}
MODELS = {
    "Conformer 12 x 256, MFA": ("conformer", CONFORMER, MFAHead),
    "ECAPA-TDNN 1024": ("ecapa_tdnn", {}, PooledHead),
}
KINDS = {"float32": None, "int8": "int8"}
# Runs in a process of its own, without this project
RUNTIME = """
import sys
import numpy, onnxruntime
def peak():
    status = open("/proc/self/status").read()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
peak()
for seconds in map(int, sys.argv[2:]):
    wave = numpy.random.default_rng(0).normal(0, 0.1, (1, 16000 * seconds))
    feed = {"waveform": wave.astype("f4"), "lengths": numpy.array([16000 * seconds])}
    session.run(None, feed)
    peak()
"""
MEMORY_SECONDS = (10, 30, 60, 120)


def main() -> None:
    """Print Markdown tables."""
    options = parser(__doc__.splitlines()[0], repeats=9)
    options.add_argument("--memory", type=str2bool, default=False)
    options.add_argument("--cores", type=str2bool, default=False)
    options.add_argument("--names", nargs="+", default=list(MODELS), choices=MODELS)
    options.add_argument("--model", help="trained speaker model")
    options.add_argument("--wav_scp", help="recordings of the trials")
    options.add_argument("--trials", help="trials, scored with each of its exports")
    args = options.parse_args()
    if args.model:
        accuracy(args.model, args.wav_scp, args.trials)
    elif args.memory:
        memory()
    elif args.cores:
        cores(args.names, args.repeats)
    else:
        speed(args.names, args.threads, args.repeats)


def build(name: str) -> SpeakerModel:
    """Build a model with random weights."""
    encoder, conf, head = MODELS[name]
    torch.manual_seed(0)
    frontend = {"n_fft": 512, "win_length": 400, "hop_length": 160}
    backbone = build_backbone(
        {
            "encoder": encoder,
            "encoder_conf": conf,
            "frontend_conf": frontend,
            "normalize": "utterance_mvn",
        }
    )
    sizes = {"num_blocks": backbone.num_blocks, "block_dim": backbone.block_dim}
    return SpeakerModel(backbone, head(**sizes), None).eval()


def speed(names: list[str], threads: int, repeats: int) -> None:
    """Compare sizes and times: with one thread, those of the processor."""
    print(f"{machine(threads)}; medians of {repeats}; in parentheses: times as fast\n")
    print("| model | file | MB | 3 s (ms) | 10 s (ms) | 8 x 3 s (ms) |")
    print("|---|---|---:|---:|---:|---:|")
    for name in names:
        model = build(name)
        files = {kind: to_onnx(model, {}, q)[0] for kind, q in KINDS.items()}
        weights = sum(t.nbytes for t in model.state_dict().values())
        megabytes = {"PyTorch": weights / 1e6}
        megabytes |= {kind: len(data) / 1e6 for kind, data in files.items()}
        cells: dict[str, list[str]] = {kind: [] for kind in megabytes}
        for batch, seconds in ((1, 3), (1, 10), (8, 3)):
            times = times_of(model, files, threads, batch, seconds, repeats)
            for kind, found in times.items():
                ratio = median_ratio(times["PyTorch"], found)
                cells[kind].append(f"{1e3 * np.median(found):.0f} ({ratio:.2f})")
        for kind, columns in cells.items():
            row = [name, kind, f"{megabytes[kind]:.1f}", *columns]
            print(f"| {' | '.join(row)} |", flush=True)


def times_of(
    model: SpeakerModel,
    files: dict[str, bytes],
    threads: int,
    batch: int,
    seconds: float,
    repeats: int,
) -> dict[str, list[float]]:
    """Time the embedding of a batch by PyTorch and by each file, in turn."""
    torch.set_num_threads(threads)
    wave, lengths = speech(batch, seconds)
    feed = {"waveform": wave.numpy(), "lengths": lengths.numpy()}

    def by_torch():
        with torch.inference_mode():
            model.embed(wave, lengths)

    def by_file(data):
        session = open_session(data, threads)
        return lambda: session.run(None, feed)

    sides = {"PyTorch": by_torch}
    sides |= {kind: by_file(data) for kind, data in files.items()}
    clock = time.process_time if threads == 1 else time.perf_counter
    return in_turn(sides, repeats, clock)


def cores(names: list[str], repeats: int) -> None:
    """Compare ways to embed 16 recordings of 3 s on all cores, by elapsed time."""
    count = len(os.sched_getaffinity(0))
    print(f"{machine(count)}; medians of {repeats}; in parentheses: times as fast\n")
    print(
        f"| model | file | one thread (ms) | {count} threads in a run |"
        f" {count} runs at once |\n|---|---|---:|---:|---:|"
    )
    wave, lengths = speech(1, 3)
    feed = {"waveform": wave.numpy(), "lengths": lengths.numpy()}
    with ThreadPoolExecutor(count) as pool:
        for name in names:
            model = build(name)
            for kind, quantize in KINDS.items():
                data = to_onnx(model, {}, quantize)[0]
                one, many = open_session(data, 1), open_session(data, count)

                def embed(session, how=map):
                    list(how(lambda _: session.run(None, feed), range(16)))

                times = in_turn(
                    {
                        "one": functools.partial(embed, one),
                        "inside": functools.partial(embed, many),
                        "at once": functools.partial(embed, one, pool.map),
                    },
                    repeats,
                )
                cells = [f"{1e3 * np.median(times['one']) / 16:.0f}"]
                for how in ("inside", "at once"):
                    ratio = median_ratio(times["one"], times[how])
                    found = 1e3 * np.median(times[how]) / 16
                    cells.append(f"{found:.0f} ({ratio:.2f})")
                print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)


def memory() -> None:
    """Measure the peak memory of a process that embeds longer and longer recordings."""
    columns = [f"{seconds} s" for seconds in MEMORY_SECONDS]
    print(f"| process, peak in MiB | loaded | {' | '.join(columns)} |")
    print("|---|" + "---:|" * (1 + len(columns)))
    name = next(iter(MODELS))
    model = build(name)
    with tempfile.TemporaryDirectory() as folder:
        for kind, quantize in KINDS.items():
            path = Path(folder, "a.onnx")
            path.write_bytes(to_onnx(model, {}, quantize)[0])
            words = [sys.executable, "-c", RUNTIME, str(path)]
            print_peaks(f"{name}, {kind}", words)
    print_peaks(f"{name}, PyTorch", [sys.executable, __file__, "--peaks"])


def print_peaks(name: str, words: list[str]) -> None:
    """Print the row of a process."""
    words += map(str, MEMORY_SECONDS)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    peaks = [f"{float(line):,.0f}" for line in done.stdout.split()]
    print(f"| {name} | {' | '.join(peaks)} |", flush=True)


def own_peak() -> float:
    """Return the peak memory of this process in MiB, without that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def print_own_peaks(seconds: list[int]) -> None:
    """Do what ``RUNTIME`` does, with PyTorch."""
    torch.set_num_threads(1)
    model = build(next(iter(MODELS)))
    print(own_peak())
    for duration in seconds:
        with torch.inference_mode():
            model.embed(*speech(1, duration))
        print(own_peak())


def accuracy(source: str, wav_scp: str, trials: str) -> None:
    """Compare error rates and embeddings on a list of trials."""
    torch.set_num_threads(1)
    model, _ = load_speaker_model(source)
    wavs = read_two_column(wav_scp)
    rate = model.backbone.sample_rate
    lines = [line.split() for line in Path(trials).read_text().splitlines()]
    names = sorted({name for line in lines for name in line[:2]})
    rows = {name: row for row, name in enumerate(names)}
    enroll, test = (np.array([rows[line[i]] for line in lines]) for i in (0, 1))
    labels = np.array([line[2] == "target" for line in lines])
    sessions = {}
    for kind, quantize in KINDS.items():
        data, report = to_onnx(model, {}, quantize)
        sessions[kind] = open_session(data, 1)
        print(kind, json.dumps(vars(report)), file=sys.stderr)
    found: dict[str, list[np.ndarray]] = {"PyTorch": [], **{k: [] for k in sessions}}
    for name in names:
        wave = np.asarray(read_audio(wavs[name], rate), np.float32)[None]
        lengths = np.array([wave.shape[1]])
        with torch.inference_mode():
            rows_of = model.embed(torch.from_numpy(wave), torch.from_numpy(lengths))
        found["PyTorch"].append(rows_of.numpy())
        for kind, session in sessions.items():
            feed = {"waveform": wave, "lengths": lengths}
            found[kind].append(session.run(None, feed)[0])
    units = {k: length_normalise(np.concatenate(v)) for k, v in found.items()}
    print(f"{len(names)} recordings, {len(lines)} trials\n")
    print("| | EER | mean cosine | least cosine | largest change of a score |")
    print("|---|---:|---:|---:|---:|")
    scores = {k: np.einsum("ij,ij->i", u[enroll], u[test]) for k, u in units.items()}
    for kind, unit in units.items():
        cosines = np.einsum("ij,ij->i", unit, units["PyTorch"])
        change = np.abs(scores[kind] - scores["PyTorch"]).max()
        eer = 100 * equal_error_rate(scores[kind], labels).eer
        print(
            f"| {kind} | {eer:.2f} % | {cosines.mean():.5f} | {cosines.min():.5f} |"
            f" {change:.1e} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peaks"]:
        print_own_peaks([int(word) for word in sys.argv[2:]])
    else:
        main()
