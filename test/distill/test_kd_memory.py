"""Memory use of the distillation loss, measured in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.execution_timeout(600)

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench" / "distill.py"


def test_the_loss_of_64_crops_adds_less_than_256_mib():
    # Crops of 3 s and 5,000 classes; a batch of 256 may add 1 GiB
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, BENCH, "--weigh", "64"]
    found = subprocess.run(
        command, env=env, check=True, capture_output=True, text=True
    ).stdout
    assert 0 < float(found) < 256
