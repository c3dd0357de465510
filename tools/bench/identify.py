#!/usr/bin/env python3
"""Compare a search among enrolled speakers with a loop and with faiss.

python tools/bench/identify.py    # about two minutes; faiss: pip install faiss-cpu
"""

import importlib.util
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from networks import in_turn, machine, parser

from espnet2_sv.inference.decision import ScoreDecision
from espnet2_sv.inference.identification import identify
from espnet2_sv.inference.speaker_file import COLUMNS, SpeakerTable, write_speakers
from espnet2_sv.inference.speaker_store import SpeakerStore
from espnet2_sv.inference.speaker_template import SpeakerTemplate
from espnet2_sv.scoring.calibration import Calibration

TOP = 5


def main() -> None:
    """Print Markdown tables."""
    options = parser(__doc__.splitlines()[0], repeats=15)
    options.add_argument("--dim", type=int, default=256)
    options.add_argument(
        "--speakers", nargs="+", type=int, default=[1_000, 100_000, 1_000_000]
    )
    args = options.parse_args()
    print(f"{args.dim} dimensions, the best {TOP}; {machine(args.threads)}\n")
    for count in args.speakers:
        measure(count, args.dim, args.repeats)


def measure(count: int, dim: int, repeats: int) -> None:
    """Print how long a search among so many speakers takes."""
    with tempfile.TemporaryDirectory() as folder:
        store = made(count, dim, Path(folder) / "speakers")
    query = SpeakerTemplate.of_recordings(
        np.random.default_rng(1).normal(size=(1, dim)), [3.0], [3.0]
    )
    plain = ScoreDecision(Calibration(10.0, -5.0, {}, {}))
    quality = {"duration": (0.5, 0.2), "magnitude": (0.1, 0.2)}
    aware = ScoreDecision(Calibration(10.0, -5.0, quality, {}))
    functions: dict[str, Callable[[], object]] = {
        "this project": lambda: identify(store, query, plain, TOP),
        "this project, quality-aware": lambda: identify(store, query, aware, TOP),
    }
    matrix = store._matrix[: len(store)]  # faiss adds it to a copy of its own
    if importlib.util.find_spec("faiss"):
        functions |= indices(matrix, query.embedding)
    seconds = in_turn(functions, repeats)
    sample = min(count, 20_000)
    start = time.perf_counter()
    sorted((-float(row @ query.embedding), i) for i, row in enumerate(matrix[:sample]))
    seconds["a loop over templates"] = [(time.perf_counter() - start) * count / sample]
    ours = statistics.median(seconds["this project"])
    print("| search | ms | ratio to this project |\n|---|---:|---:|")
    for name, values in seconds.items():
        found = statistics.median(values)
        print(f"| {name} | {1e3 * found:.2f} | {found / ours:.2f} |")
    print(flush=True)


def made(count: int, dim: int, path: Path) -> SpeakerStore:
    """Return a store that is read from a file; print what that takes."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    columns = {name: np.full(count, 5, kind) for name, kind in COLUMNS.items()}
    names = [f"speaker{i:08d}" for i in range(count)]
    start = time.perf_counter()
    write_speakers(path, SpeakerTable("model", names, rows, columns))
    written = time.perf_counter() - start
    del rows, names
    before = rss()
    store = SpeakerStore()
    start = time.perf_counter()
    store.load(path, "model")
    print(
        f"{count:,} speakers: {path.stat().st_size / 2**20:.0f} MiB, written in"
        f" {written:.2f} s, read in {time.perf_counter() - start:.2f} s; memory"
        f" {(rss() - before) / 2**20:.0f} MiB, of which float32 embeddings"
        f" {count * dim * 4 / 2**20:.0f} MiB; highest of the process"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB\n"
    )
    return store


def rss() -> int:
    """Return the bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def indices(matrix: np.ndarray, query: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return searches of faiss: exact, and approximate by a graph or by cells."""
    import faiss

    flat = faiss.IndexFlatIP(matrix.shape[1])
    flat.add(matrix)
    found: dict[str, Callable[[], object]] = {
        "faiss, exact (IndexFlatIP)": lambda: flat.search(query[None], TOP)
    }
    if len(matrix) <= 100_000:
        cells = max(16, round(4 * len(matrix) ** 0.5))
        ivf = faiss.index_factory(
            matrix.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT
        )
        start = time.perf_counter()
        ivf.train(matrix)
        ivf.add(matrix)
        ivf.nprobe = max(1, cells // 16)
        print(f"faiss trains {cells} cells in {time.perf_counter() - start:.1f} s\n")
        name = f"faiss, approximate (IVF{cells}, {ivf.nprobe} cells searched)"
        found[name] = lambda: ivf.search(query[None], TOP)
    return found


if __name__ == "__main__":
    main()
