"""A missing file is told at once, and nothing else is printed."""

import os
import subprocess
import sys

import pytest

AUDIO = ["--enroll", "nowhere.wav", "--test", "nowhere.wav"]
DATA = ["--wav_scp", "nowhere", "--output_dir", "out"]
COMMANDS = {
    "sv_verify": ["--model", "a/tag", *AUDIO],
    "sv_enroll": [
        *["--model", "a/tag", "--speakers", "st", "--name", "ann"],
        *["--audio", "nowhere.wav"],
    ],
    "sv_identify": ["--model", "a/tag", "--speakers", "nowhere", "--audio", "x.wav"],
    "sv_embed": ["--model", "a/tag", *DATA],
    "sv_joint": ["--model", "a/tag", *DATA],
    "sv_layer_probe": ["--asr", "a/tag", "--trials", "nowhere", *DATA],
    "sv_teacher_posteriors": ["--asr", "a/tag", *DATA],
    "sv_score": [
        *["--trials", "nowhere", "--enroll_scp", "nowhere", "--test_scp", "nowhere"],
        *["--output", "out"],
    ],
    "sv_metrics": ["--trials", "nowhere", "--scores", "nowhere", "--output_dir", "out"],
    "sv_upload": ["--zip", "nowhere.zip", "--repo", "a/b"],
}
CODE = """
import importlib, sys
from espnet2_sv.errors import SVError
for name, *words in {commands!r}:
    try:
        importlib.import_module("espnet2_sv.bin." + name).main(words)
    except SVError as e:
        print(name, "torch" in sys.modules, e)
"""


def test_no_command_imports_torch_first():
    """In one new process, as torch stays imported."""
    commands = [[name, *words] for name, words in COMMANDS.items()]
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(commands=commands)],
        env=os.environ | {"PLAIN_PYTHON": "1"},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(COMMANDS), done.stderr
    for name, line in zip(COMMANDS, lines, strict=True):
        assert line.startswith(f"{name} False nowhere"), line
        assert "no such" in line


@pytest.mark.parametrize("model", ["/nowhere/exp", "./exp", "nowhere.zip", "~/nowhere"])
def test_a_missing_model_that_is_a_path_is_told(model):
    from espnet2_sv.bin.options import require_files
    from espnet2_sv.errors import SVError

    class Args:
        audio = __file__

    Args.model = model
    with pytest.raises(SVError, match="--model"):
        require_files(Args, "audio")
    Args.model = "espnet/some_tag"
    require_files(Args, "audio")


def test_offsets_in_archives_are_files(tmp_path):
    from espnet2_sv.bin.options import _exists

    (tmp_path / "a.ark").touch()
    assert _exists(f"{tmp_path}/a.ark:12") and _exists(f"{tmp_path}/a.ark:12[0:9]")
    assert not _exists(f"{tmp_path}/a.ark:x") and not _exists(f"{tmp_path}/b.ark:12")


def test_espnets_notice_is_left_out_and_nothing_else(capsys):
    from espnet2_sv.bin import notices

    stream = notices._WithoutNotice(sys.stderr)
    print("before", file=stream)
    print("Failed to import Flash Attention, using x", file=stream)
    print(file=stream)
    stream.write("Failed to import Flash Attention\n")
    print("after", end="", file=stream)
    assert capsys.readouterr().err == "before\n\nafter"
