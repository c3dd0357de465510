"""Rebuilding trained models for use; what is rebuilt is tested with the tasks."""

import os
import subprocess
import sys


def test_rebuilding_imports_no_task_of_espnet():
    """It would double the time that embedding and verifying take to start."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, espnet2_sv.inference.embedder, espnet2_sv.inference.verifier\n"
            "slow = ('espnet2.tasks', 'espnet2.train.trainer')\n"
            "print(*(name for name in sys.modules if name.startswith(slow)))",
        ],
        env=os.environ
        | {"PLAIN_PYTHON": "1"},  # see egs2/TEMPLATE/sv1/scripts/preloaded_python.py
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == []
