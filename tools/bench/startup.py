#!/usr/bin/env python3
"""Measure the start-up time of commands and how much of it third-party imports take.

    tools/bench/startup.py [--model SOURCE] [--repeats 5]

Compares two recordings with sv_verify, computes their embeddings with sv_embed, and
compares them with the Python API, each in a separate process. For reference, further
processes import only PyTorch, or only the third-party packages that the command
imported. The difference is the time of this project: its own imports, resolving and
loading the model, and the computation.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "egs2/mini_an4/sv1/exp/sv_transfer/sv_transfer.zip"
OWN = ("espnet2_sv", "__main__")
API = "import sys; from espnet2_sv import SpeakerVerifier\n"
API += "SpeakerVerifier.from_pretrained(sys.argv[1]).verify(*sys.argv[2:])"
COMMAND = (
    "import runpy, sys; runpy.run_module(sys.argv.pop(1), run_name='__main__',"
    " alter_sys=True)"
)
# Writes the imported modules to $LISTING at exit
LISTED = """
import atexit, json, os, sys
_known = set(sys.modules)
def _write():
    names = [name for name in sys.modules if name not in _known]
    json.dump(names, open(os.environ["LISTING"], "w"))
atexit.register(_write)
"""
IMPORT = """
import importlib, json, sys
for name in json.load(open(sys.argv[1])):
    try:
        importlib.import_module(name)
    except Exception:  # created by another module and not importable
        pass
"""


def seconds(code: str, *words: str | Path, env: dict[str, str] | None = None) -> float:
    """Return the CPU time of a process that runs the code, in seconds."""
    # Use byte code like an installation, but outside the source tree
    settings = {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": f"{tempfile.gettempdir()}/pyc",
    }
    settings |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code, *words],
        env=os.environ | settings | (env or {}),
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum((after.ru_utime, after.ru_stime, -before.ru_utime, -before.ru_stime))


def list_third_party_imports(code: str, words: list[str | Path], listing: Path) -> None:
    """Write the third-party modules that a process imports to a file, in order."""
    seconds(LISTED + code, *words, env={"LISTING": str(listing)})
    names = json.loads(listing.read_text())
    listing.write_text(json.dumps([name for name in names if not name.startswith(OWN)]))


def main() -> None:
    """Print a table with a row per command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default=str(MODEL), help="speaker model (default: that of mini_an4)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs per command")
    args = parser.parse_args()
    if args.model == str(MODEL) and not MODEL.exists():
        sys.exit("startup.py: run egs2/mini_an4/sv1/run.sh first, or give --model")
    print(
        "| median CPU seconds | total | PyTorch | third-party imports | this project |"
    )
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        wavs = [Path(folder) / f"{name}.wav" for name in "ab"]
        for wav in wavs:
            soundfile.write(wav, 0.1 * rng.standard_normal(16000), 16000)
        (Path(folder) / "wav.scp").write_text(
            "".join(f"{wav.stem} {wav}\n" for wav in wavs)
        )
        verify = ["espnet2_sv.bin.sv_verify", "--model", args.model]
        verify += ["--enroll", wavs[0]]
        embed = ["espnet2_sv.bin.sv_embed", "--model", args.model, "--resume", "false"]
        embed += ["--wav_scp", f"{folder}/wav.scp"]
        embed += ["--output_dir", f"{folder}/embedded"]
        commands = {
            "sv_verify": (COMMAND, [*verify, "--test", wavs[1]]),
            "sv_embed": (COMMAND, embed),
            "SpeakerVerifier": (API, [args.model, *wavs]),
        }
        for name, (code, words) in commands.items():
            listing = Path(folder) / "modules"
            list_third_party_imports(code, words, listing)
            rows = [
                (
                    seconds(code, *words),
                    seconds("import torch"),
                    seconds(IMPORT, listing),
                )
                for _ in range(args.repeats)
            ]
            total, torch, imported = (
                statistics.median(column) for column in zip(*rows, strict=True)
            )
            own = statistics.median(total - imported for total, _, imported in rows)
            print(
                f"| {name} | {total:.2f} | {torch:.2f} | {imported:.2f} | {own:.2f} |"
            )


if __name__ == "__main__":
    main()
