#!/usr/bin/env python3
"""Time scoring, normalisation and evaluation at the size of VoxCeleb1-H, and beyond.

The data are random: 256-dimensional embeddings around 1,190 speakers, 137,924
utterances, and a cohort of 5,994. The commands run from files to files, each in its own
process. The per-trial loops of other toolkits are reimplemented here in their simplest
form and timed on a subset of the same trials, alternating with this project's
functions, so that both run under the same load.

    python tools/bench/score.py               # commands and loops, about three minutes
    python tools/bench/score.py --scaling     # 1, 3 and 10 million trials as well
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SPEAKERS, UTTERANCES, COHORT, DIMENSION, TOP_N = 1190, 137_924, 5994, 256, 300
VOX1H_TRIALS = 550_894
MILLIONS = (1, 3, 10)
COSINE_LOOP_TRIALS, NORM_LOOP_TRIALS = 4000, 300
THREADS = "2"


def main() -> None:
    """Run the benchmarks and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="number of runs, of which medians are reported",
    )
    parser.add_argument(
        "--scaling", action="store_true", help="also 1, 3 and 10 million trials"
    )
    parser.add_argument(
        "--bootstrap_samples", type=int, default=1000, help="for sv_metrics"
    )
    parser.add_argument(
        "--workdir", help="folder for the data (3 GB); default: a temporary folder"
    )
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = THREADS
    with tempfile.TemporaryDirectory(dir=args.workdir) as folder:
        root = Path(folder)
        apart(write_embeddings, root)
        apart(write_trials, root, VOX1H_TRIALS)
        print(
            f"{VOX1H_TRIALS:,} trials, {UTTERANCES:,} utterances, cohort {COHORT:,},"
            f" top {TOP_N}, "
        )
        print(
            f"{args.bootstrap_samples:,} bootstrap samples of speakers; medians of"
            f" {args.repeats}\n"
        )
        commands = vox1h_commands(root, args.bootstrap_samples)
        print_commands([run_all(commands) for _ in range(args.repeats)])
        apart(compare_loops, root, args.repeats)
        if args.scaling:
            scaling(root, args.bootstrap_samples)


def apart(function: Callable, *arguments) -> None:
    """Call in a child process: peak memory of this one is inherited by the commands."""
    process = multiprocessing.get_context("spawn").Process(
        target=function, args=arguments
    )
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


# Data


def utterance_names():
    """Return names (N,) and their speakers (N,)."""
    import numpy as np

    speakers = np.sort(np.random.default_rng(0).integers(0, SPEAKERS, UTTERANCES))
    return [
        f"spk{s:04d}-video{i % 7}-{i:06d}" for i, s in enumerate(speakers)
    ], speakers


def write_embeddings(root: Path) -> None:
    """Write Kaldi archives of the test utterances and of the cohort."""
    import kaldiio
    import numpy as np

    rng = np.random.default_rng(1)
    names, speakers = utterance_names()
    centres = rng.standard_normal((SPEAKERS, DIMENSION))
    spread = 1.6 * np.exp(0.15 * rng.standard_normal(SPEAKERS))

    def vectors():
        for name, speaker in zip(names, speakers, strict=True):
            noise = spread[speaker] * rng.standard_normal(DIMENSION)
            yield name, (centres[speaker] + noise).astype(np.float32)

    def impostors():
        for i in range(COHORT):
            yield f"cohort{i:04d}", rng.standard_normal(DIMENSION).astype(np.float32)

    for stem, source in (("test", vectors()), ("cohort", impostors())):
        with kaldiio.WriteHelper(
            f"ark,scp:{root}/{stem}.ark,{root}/{stem}.scp"
        ) as writer:
            for name, vector in source:
                writer(name, vector)
    with open(root / "utt2spk", "w") as f:
        f.writelines(f"{name} {name[:7]}\n" for name in names)


def write_trials(root: Path, count: int) -> None:
    """Write ``count`` distinct trials, half of them targets."""
    import numpy as np

    rng = np.random.default_rng(2)
    names, speakers = utterance_names()
    first = np.searchsorted(speakers, np.arange(SPEAKERS + 1))
    halves = []
    for same, wanted in ((True, count // 2), (False, count - count // 2)):
        codes = np.zeros(0, np.int64)
        while len(codes) < wanted:
            a = rng.integers(0, UTTERANCES, wanted + wanted // 4)
            low, high = first[speakers[a]], first[speakers[a] + 1]
            b = low + (rng.random(len(a)) * (high - low)).astype(np.int64)
            b = b if same else rng.integers(0, UTTERANCES, len(a))
            good = (a != b) & ((speakers[a] == speakers[b]) == same)
            codes = np.unique(np.concatenate([codes, a[good] * UTTERANCES + b[good]]))
        halves.append(rng.permutation(codes)[:wanted])
    codes, labels = np.concatenate(halves), np.arange(count) < len(halves[0])
    order = rng.permutation(count)
    with open(root / f"trials{count}", "w") as f:
        for i in range(0, count, 1 << 18):
            part = order[i : i + (1 << 18)]
            a, b = (side.tolist() for side in np.divmod(codes[part], UTTERANCES))
            words = (("nontarget", "target")[same] for same in labels[part].tolist())
            rows = zip(a, b, words, strict=True)
            f.writelines(f"{names[a]} {names[b]} {word}\n" for a, b, word in rows)


# Commands


def score_command(root: Path, count: int) -> list[str]:
    """Return the command line of sv_score."""
    scps = ["--enroll_scp", f"{root}/test.scp", "--test_scp", f"{root}/test.scp"]
    trials = ["--trials", f"{root}/trials{count}", "--output", f"{root}/scores{count}"]
    return ["espnet2_sv.bin.sv_score", *trials, *scps]


def metrics_command(root: Path, count: int, scores: str, samples: int) -> list[str]:
    """Return the command line of sv_metrics."""
    files = ["--trials", f"{root}/trials{count}", "--scores", f"{root}/{scores}"]
    options = ["--utt2spk", f"{root}/utt2spk", "--bootstrap_samples", str(samples)]
    return [
        "espnet2_sv.bin.sv_metrics",
        *files,
        "--output_dir",
        f"{root}/out",
        *options,
    ]


def vox1h_commands(root: Path, samples: int) -> list[list[str]]:
    """Return the three command lines at the size of VoxCeleb1-H."""
    scps = ["--enroll_scp", f"{root}/test.scp", "--test_scp", f"{root}/test.scp"]
    cohort = ["--cohort_scp", f"{root}/cohort.scp", "--top_n", str(TOP_N)]
    files = ["--scores", f"{root}/scores{VOX1H_TRIALS}", "--output", f"{root}/normed"]
    return [
        score_command(root, VOX1H_TRIALS),
        ["espnet2_sv.bin.sv_score_norm", *files, *scps, *cohort],
        metrics_command(root, VOX1H_TRIALS, "normed", samples),
    ]


class Run(NamedTuple):
    """Resources used by a command."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_gib: float


def run(command: list[str]) -> Run:
    """Run a command in its own process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    name = command[0].rpartition(".")[2]
    seconds = time.perf_counter() - start
    return Run(name, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def run_all(commands: list[list[str]]) -> list[Run]:
    """Run commands one after the other."""
    return [run(command) for command in commands]


def print_commands(rounds: list[list[Run]]) -> None:
    """Print medians of each command and of their sum; peaks are the largest."""
    print("| command | seconds | CPU seconds | peak memory (GiB) |")
    print("| --- | ---: | ---: | ---: |")
    sums = [
        Run(
            "all three, files to files",
            sum(r.seconds for r in runs),
            sum(r.cpu_seconds for r in runs),
            max(r.peak_gib for r in runs),
        )
        for runs in rounds
    ]
    for runs in [*zip(*rounds, strict=True), sums]:
        seconds, cpu = (
            statistics.median(values) for values in list(zip(*runs, strict=True))[1:3]
        )
        peak = max(r.peak_gib for r in runs)
        print(f"| {runs[0].name} | {seconds:.1f} | {cpu:.1f} | {peak:.2f} |")
    print(flush=True)


def scaling(root: Path, samples: int) -> None:
    """Score and evaluate 1, 3 and 10 million trials."""
    print(
        "| trials | sv_score (s) | sv_metrics (s) | processor s per million | peak"
        " memory (GiB) |"
    )
    print("| ---: | ---: | ---: | ---: | ---: |")
    for millions in MILLIONS:
        count = millions * 1_000_000
        apart(write_trials, root, count)
        score, metrics = run_all(
            [
                score_command(root, count),
                metrics_command(root, count, f"scores{count}", samples),
            ]
        )
        per_million = (score.cpu_seconds + metrics.cpu_seconds) / millions
        times = f"{score.seconds:.1f} | {metrics.seconds:.1f} | {per_million:.1f}"
        peak = max(score.peak_gib, metrics.peak_gib)
        print(f"| {millions} million | {times} | {peak:.2f} |", flush=True)
        for name in (f"trials{count}", f"scores{count}"):
            (root / name).unlink()


# Loops over trials


def compare_loops(root: Path, repeats: int) -> None:
    """Time the loops and this project's functions, alternating, on data in memory.

    On a busy machine, CPU time (of all threads) is the fairer of the two columns.
    """
    import numpy as np
    import torch

    from espnet2_sv.scoring.cosine import cosine_scores
    from espnet2_sv.scoring.embeddings import read_trial_vectors
    from espnet2_sv.scoring.score_norm import normalise_trials, read_cohort
    from espnet2_sv.scoring.trials import read_trials

    torch.set_num_threads(1)  # a single trial is too small for several threads
    trials = read_trials(root / f"trials{VOX1H_TRIALS}")
    vectors = read_trial_vectors(
        trials, root / "test.scp", root / "test.scp", "the trials"
    )
    cohort, _ = read_cohort(root / "cohort.scp")
    rows = vectors.enroll_index, vectors.test_index
    scores = cosine_scores(vectors.enroll, vectors.test, *rows)
    pairs = list(zip(*(r.tolist() for r in rows), strict=True))
    names = [(vectors.enroll_names[a], vectors.test_names[b]) for a, b in pairs]
    by_name = {name: vectors.test[i][None] for i, name in enumerate(vectors.test_names)}
    ways = {
        "cosine, this project": lambda: cosine_scores(
            vectors.enroll, vectors.test, *rows
        ),
        "cosine, scikit-learn call per trial (WeSpeaker's way)": lambda: (
            loop_cosine_pairs(vectors.test, pairs[:COSINE_LOOP_TRIALS])
        ),
        "cosine, torch distance per trial (ESPnet's way)": lambda: loop_cosine_torch(
            by_name, names[:COSINE_LOOP_TRIALS]
        ),
        "AS-norm, this project": lambda: normalise_trials(
            vectors, scores, cohort, {}, top_n=TOP_N
        ),
        "AS-norm, cohort scored per trial (ESPnet's way)": lambda: loop_as_norm(
            vectors.test, cohort.vectors, scores, pairs[:NORM_LOOP_TRIALS]
        ),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    found = {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter(), time.process_time()
            found[name] = way()
            took = time.perf_counter() - start[0], time.process_time() - start[1]
            rates[name].append(tuple(len(found[name]) / seconds for seconds in took))
    print("| in memory | trials per second | faster by | per CPU second | faster by |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in ways:
        ours = f"{name.partition(',')[0]}, this project"
        np.testing.assert_allclose(
            found[name], found[ours][: len(found[name])], atol=2e-3
        )
        cells = [name]
        for a, b in zip(
            zip(*rates[ours], strict=True), zip(*rates[name], strict=True), strict=True
        ):
            ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
            cells += [
                f"{statistics.median(b):,.0f}",
                "" if name == ours else f"{ratio:,.0f} times",
            ]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def loop_cosine_pairs(vectors, pairs) -> list[float]:
    """Call a general matrix function on two single rows."""
    from sklearn.metrics.pairwise import cosine_similarity

    return [
        cosine_similarity(vectors[a].reshape(1, -1), vectors[b].reshape(1, -1))[0][0]
        for a, b in pairs
    ]


def loop_cosine_torch(by_name, pairs) -> list[float]:
    """Take the distance of two unit vectors, looked up by name.

    It is converted to a cosine for comparison.
    """
    import torch

    distances = []
    for a, b in pairs:
        left, right = torch.from_numpy(by_name[a]), torch.from_numpy(by_name[b])
        distances.append((-1.0 * torch.mean(torch.cdist(left, right))).item())
    return [1 - distance**2 / 2 for distance in distances]


def loop_as_norm(vectors, cohort, scores, pairs) -> list[float]:
    """Score both sides of each trial against the whole cohort and select the top."""
    import torch

    impostors = torch.from_numpy(cohort)
    normalised = []
    for score, pair in zip(scores, pairs, strict=False):
        sides = []
        for row in pair:
            side = torch.from_numpy(vectors[row][None])
            against = 1 - torch.cdist(side, impostors)[0] ** 2 / 2
            top = torch.topk(against, TOP_N).values
            sides.append((score - top.mean()) / top.std(correction=0))
        normalised.append(float(sum(sides) / 2))
    return normalised


if __name__ == "__main__":
    main()
