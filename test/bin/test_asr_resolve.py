"""The command prints its summary and nothing else."""

import json
import subprocess
import sys

import asr_models
import pytest

from espnet2_sv.bin.asr_resolve import main
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(600)

KEYS = [
    "task",
    "encoder",
    "blocks",
    "dim",
    "subsampling",
    "sample_rate",
    "hop_length",
    "frame_rate_hz",
    "vocab",
    "has_ctc",
    "encoder_parameters",
]


@pytest.fixture
def packed(tmp_path, capsys):
    path = asr_models.train(
        tmp_path / "recipe", asr_models.published("aishell_conformer")
    ).pack()
    capsys.readouterr()  # what ESPnet's pack prints
    return path


def test_json(packed, tmp_path, capsys):
    for _ in range(2):  # resolved now, resolved before
        main(["--asr", str(packed), "--output_dir", str(tmp_path / "asr"), "--json"])
        summary = json.loads(capsys.readouterr().out)
        assert list(summary) == KEYS
        assert (summary["encoder"], summary["frame_rate_hz"]) == ("conformer", 31.25)


def test_text_summary(packed, tmp_path, capsys):
    main(["--asr", str(packed), "--output_dir", str(tmp_path / "asr")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(KEYS)
    assert lines[1].split() == ["encoder", "conformer"]
    assert lines[9].split() == ["has", "ctc", "yes"]


def test_error_is_one_line(tmp_path):
    (tmp_path / "x.zip").write_text("nothing")
    command = ["--asr", str(tmp_path / "x.zip"), "--output_dir", str(tmp_path / "asr")]
    with pytest.raises(SVError, match="not a zip archive"):
        main(command)
    done = subprocess.run(
        [sys.executable, "-m", "espnet2_sv.bin.asr_resolve", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
