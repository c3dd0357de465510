"""Imports of model loading; loading itself is tested with the tasks."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.execution_timeout(600)


def test_loading_for_inference_imports_no_espnet_task():
    """Such an import would double the start-up time of embedding and verifying."""
    code = (
        "import sys, espnet2_sv.inference.embedder, espnet2_sv.inference.verifier\n"
        "slow = ('espnet2.tasks', 'espnet2.train.trainer')\n"
        "print(*(name for name in sys.modules if name.startswith(slow)))"
    )
    # See egs2/TEMPLATE/sv1/scripts/preloaded_python.py
    env = os.environ | {"PLAIN_PYTHON": "1"}
    command = [sys.executable, "-c", code]
    imported = subprocess.run(
        command, env=env, capture_output=True, text=True, check=True
    )
    assert imported.stdout.split() == []
