#!/usr/bin/env python3
"""What a user waits for before anything is done, and whose share of it that is.

    tools/bench/startup.py [--model SOURCE] [--repeats 5]

Compares two recordings with sv_verify, embeds them with sv_embed, and does the former
by the Python API, each in a process of its own. Beside it, in turn, a process that only
imports what that one has imported of other packages (torch, ESPnet, numpy ...), and one
that imports torch alone. What is left is this project's: its imports, finding and
loading the model, and the work itself.
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
# Tells, at the end, what has been imported
LISTED = "import atexit, json, os, sys\n"
LISTED += "_known = set(sys.modules)\n"
LISTED += (
    "atexit.register(lambda: print(json.dumps([m for m in sys.modules if m not in"
    " _known]),"
)
LISTED += " file=open(os.environ['LISTING'], 'w')))\n"
IMPORT = """
import importlib, json, sys
for name in json.load(open(sys.argv[1])):
    try:
        importlib.import_module(name)
    except Exception:  # made by another module, not to be imported by itself
        pass
"""


def seconds(code: str, *words: str | Path, env: dict[str, str] | None = None) -> float:
    """Processor time of a process that runs the code; it waits for nothing else."""
    # byte code as users have it, but not in the tree
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


def others(code: str, words: list[str | Path], listing: Path) -> None:
    """Leave in a file what a process imports of other packages, in its order."""
    seconds(LISTED + code, *words, env={"LISTING": str(listing)})
    names = json.loads(listing.read_text())
    listing.write_text(json.dumps([name for name in names if not name.startswith(OWN)]))


def main() -> None:
    """Print a row for each way of use."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default=str(MODEL), help="a speaker model; default: mini_an4's"
    )
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if args.model == str(MODEL) and not MODEL.exists():
        sys.exit("startup.py: run egs2/mini_an4/sv1/run.sh first, or give --model")
    print(
        "| processor seconds, median | all | torch alone | all that is imported |"
        " ours |"
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
        verify = [
            "espnet2_sv.bin.sv_verify",
            "--model",
            args.model,
            "--enroll",
            wavs[0],
        ]
        embed = ["espnet2_sv.bin.sv_embed", "--model", args.model, "--resume", "false"]
        embed += [
            "--wav_scp",
            f"{folder}/wav.scp",
            "--output_dir",
            f"{folder}/embedded",
        ]
        ways = {
            "sv_verify": (COMMAND, [*verify, "--test", wavs[1]]),
            "sv_embed": (COMMAND, embed),
            "SpeakerVerifier": (API, [args.model, *wavs]),
        }
        for name, (code, words) in ways.items():
            listing = Path(folder) / "modules"
            others(code, words, listing)
            rows = [
                (
                    seconds(code, *words),
                    seconds("import torch"),
                    seconds(IMPORT, listing),
                )
                for _ in range(args.repeats)
            ]
            whole, torch, imported = (
                statistics.median(column) for column in zip(*rows, strict=True)
            )
            ours = statistics.median(whole - imported for whole, _, imported in rows)
            print(
                f"| {name} | {whole:.2f} | {torch:.2f} | {imported:.2f} | {ours:.2f} |"
            )


if __name__ == "__main__":
    main()
