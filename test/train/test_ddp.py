"""Two gloo processes: unfreezing during training keeps their weights equal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.execution_timeout(600)

WORKER = Path(__file__).with_name("ddp_worker.py")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    rendezvous = f"file://{tmp_path_factory.mktemp('ddp') / 'init'}"
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), rendezvous],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        return [json.loads(p.communicate()[0]) for p in processes]
    finally:
        for p in processes:
            p.kill()


def test_unfrozen_parameters_are_synchronised(gradients):
    for merged in gradients:
        assert merged["0"] == merged["1"]
        assert any(any(row) for row in merged["0"])


def test_gathered_dicts_are_the_union_on_every_process(gradients):
    assert gradients[0] == gradients[1]
    assert set(gradients[0]) == {"0", "1"}
