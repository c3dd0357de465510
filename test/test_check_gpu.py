"""tools/check_gpu.py on the CPU, and that it finds faults."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.execution_timeout(900)

ROOT = Path(__file__).resolve().parents[1]
TOOLS, CONF = ROOT / "tools", ROOT / "egs2/voxceleb/sv1/conf"
FAULTY = """
import os
from check_gpu.results import Failed, Skipped

def checks(context):
    def wrong(): raise Failed("too large", {"size": 3})
    def missing(): raise Skipped("no GPU")
    return {
        "good": lambda: {"loss": 1.5},
        "wrong": wrong,
        "raises": lambda: 1 / 0,
        "dies": lambda: os._exit(9),
        "skipped": missing,
        "good, too": dict,
    }
"""
HANGING = """
import time

def checks(context):
    return {"hangs": lambda: time.sleep(10_000), "never begins": dict}
"""


@pytest.fixture
def check_gpu(monkeypatch):
    """Put the folder of the tool on the path."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import check_gpu

    return check_gpu


@pytest.fixture
def run_parts(check_gpu, tmp_path, monkeypatch):
    """A function that runs parts of given code and returns all rows."""
    from check_gpu.runner import run_parts

    (tmp_path / "modules").mkdir()
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'modules'}{os.pathsep}{path}")

    def run(shares: dict[str, float], seconds: float, **code: str):
        for name, text in code.items():
            (tmp_path / "modules" / f"part_{name}.py").write_text(text)
        parts = {name: (f"part_{name}", share) for name, share in shares.items()}
        rows = []
        run_parts(parts, "cpu", tmp_path, seconds, rows.append)
        return {(row.part, row.check): row for row in rows}

    return run


def test_the_small_program_passes_on_a_cpu(tmp_path):
    command = [sys.executable, str(TOOLS / "check_gpu.py"), "--device", "cpu"]
    command += ["--minutes", "12", "--only", "environment", "parity", "memory"]
    command += ["--json", str(tmp_path / "a.json"), "--output", str(tmp_path / "a.md")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "a.json").read_text())
    results = {(c["part"], c["check"]): c for c in found["checks"]}
    bad = [c for c in results.values() if c["result"] == "FAIL"]
    assert (done.returncode, found["status"], bad) == (0, 0, []), found["logs"]
    skipped = {check for (_, check), c in results.items() if c["result"] == "SKIP"}
    assert skipped == {"GPU", "bfloat16", "NCCL", "memory runs out"}
    parity = [c["figures"] for (part, _), c in results.items() if part == "parity"]
    assert len(parity) == 9
    # Two ways of computing the same differ, so something was compared
    assert all(0 < f["gradient"] < 1e-4 for f in parity)
    table = (tmp_path / "a.md").read_text().splitlines()
    assert table[0] == "| part | check | result | figures | seconds |"
    assert table[2:-2] == done.stdout.splitlines()[2:-2]
    assert len(table[2:-2]) == len(results)


def test_faults_fail_and_leave_the_other_checks_alone(run_parts):
    from check_gpu.results import status_of

    rows = run_parts({"faulty": 1.0}, 800, faulty=FAULTY)
    found = {check: (row.result, row.reason) for (_, check), row in rows.items()}
    result, reason = found.pop("dies")
    assert result == "FAIL" and reason.startswith("the process ended with status 9")
    assert found == {
        "good": ("PASS", ""),
        "wrong": ("FAIL", "too large"),
        "raises": ("FAIL", "ZeroDivisionError: division by zero"),
        "skipped": ("SKIP", "no GPU"),
        "good, too": ("PASS", ""),
    }
    assert rows["faulty", "wrong"].figures == {"size": 3}
    assert status_of(rows.values()) == 1


def test_a_part_that_hangs_is_cut_off_and_the_next_runs(run_parts):
    shares = {"hanging": 3.0, "faulty": 797.0}
    rows = run_parts(shares, 800, hanging=HANGING, faulty=FAULTY)
    hanging = [row for (part, _), row in rows.items() if part == "hanging"]
    assert {row.result for row in hanging} == {"FAIL"}
    assert "cut off at the part's limit of 3 s" in hanging[0].reason
    assert rows["faulty", "good"].result == "PASS"


def test_every_part_plans_its_checks(check_gpu, tmp_path):
    from check_gpu.main import PARTS
    from check_gpu.results import Context

    context = Context("cpu", tmp_path, deadline=0.0)
    plans = {
        name: list(importlib.import_module(module).checks(context))
        for name, (module, _) in PARTS.items()
    }
    assert all(plans.values())
    configs = {p.stem.removeprefix("train_sv_") for p in CONF.glob("train_sv_*.yaml")}
    assert set(plans["speed"]) == configs
    assert list(tmp_path.iterdir()) == []


def test_no_check_at_all_is_no_success(check_gpu):
    from check_gpu.results import PASS, SKIP, Row, status_of

    assert status_of([]) == status_of([Row("a", "b", SKIP)]) == 1
    assert status_of([Row("a", "b", SKIP), Row("a", "c", PASS)]) == 0


@pytest.mark.parametrize(
    "name, change, reason",
    [
        ("weight", 1e-3, "gradient"),
        ("loss", 1e-3, "loss"),
        ("embeddings", 1e-1, "embeddings"),
    ],
)
def test_parity_refuses_what_differs(check_gpu, name, change, reason):
    from check_gpu.parity import compare
    from check_gpu.results import Failed

    torch.manual_seed(0)
    good = {"embeddings": torch.randn(3, 8), "loss": torch.tensor(2.0)}
    good["weight"] = torch.randn(10, 10)
    assert compare(good, good, good)["gradient"] == 0
    signs = 1 - 2 * (torch.arange(good[name].numel()) % 2).reshape(good[name].shape)
    other = good | {name: good[name] * (1 + change * signs)}
    with pytest.raises(Failed, match=reason):
        compare(good, other, good)
    with pytest.raises(Failed, match="one device only"):
        compare(good, {k: v for k, v in good.items() if k != "weight"}, good)


def test_kernels_synchronisations_and_copies_are_counted_in_a_trace(check_gpu):
    from check_gpu.profile import count_events

    def event(category, name, **args):
        return {"ph": "X", "cat": category, "name": name, "args": args}

    events = [event("kernel", "gemm")] * 3
    events += [event("cuda_runtime", "cudaStreamSynchronize")] * 2
    events += [event("cuda_runtime", "cudaLaunchKernel")] * 3
    events += [event("cuda_runtime", "cudaDeviceSynchronize")]  # of the measurement
    copy = "Memcpy HtoD (Pinned -> Device)"
    events += [event("gpu_memcpy", copy, bytes=3 * 2**20)]
    events += [event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", bytes=2**20)]
    events += [{"ph": "M", "name": "process_name"}]
    assert count_events(events) == {
        "kernels": 3,
        "synchronisations": 2,
        "copied MiB": 3.0,
    }
    assert "unknown" in count_events(events[3:])["kernels"]
