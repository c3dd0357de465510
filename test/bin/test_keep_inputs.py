"""No command overwrites a file that it reads, whatever the file is called."""

import argparse
import importlib
import os

import pytest

from espnet2_sv.bin.options import keep_inputs
from espnet2_sv.errors import SVError


def hard(path, link):
    os.link(path, link)


def soft(path, link):
    link.symlink_to(path)


def of_folder(path, link):
    link.symlink_to(path.parent)
    return link / path.name


@pytest.mark.parametrize("make", [hard, soft, of_folder])
def test_other_names_of_an_input_are_refused_as_output(tmp_path, make):
    path = tmp_path / "scores"
    path.touch()
    other = make(path, tmp_path / "link") or tmp_path / "link"
    for one, two in ((path, other), (other, path), (path, path)):
        args = argparse.Namespace(scores=[str(one)], trials=None)
        with pytest.raises(SVError, match=r"--scores .* would be overwritten"):
            keep_inputs(args, ("trials", "scores"), [None, two])
    keep_inputs(args, ("trials", "scores"), [tmp_path / "new"])
    with pytest.raises(SVError, match="two outputs are this file"):
        keep_inputs(args, (), [tmp_path / "new", f"{tmp_path}/./new"])


@pytest.mark.parametrize(
    "command, options",
    [
        ("sv_score", "--trials IN --enroll_scp x --test_scp x --output IN"),
        ("sv_score", "--trials x --enroll_scp IN --test_scp x --output IN"),
        (
            "sv_score",
            "--trials x --enroll_scp x --test_scp x --mean_scp IN --output IN",
        ),
        (
            "sv_score_norm",
            "--scores IN --enroll_scp x --test_scp x --cohort_scp x --output IN",
        ),
        (
            "sv_score_norm",
            "--scores x --enroll_scp x --test_scp x --cohort_scp IN --output IN",
        ),
        ("sv_calibrate", "--scores IN --output IN --train_scores x --train_trials x"),
        ("sv_calibrate", "--scores x --output IN --train_scores IN --train_trials x"),
        ("sv_calibrate", "--scores x y --output z z --calibration c"),
        ("sv_metrics", "--trials DIR/metrics.json --scores x --output_dir DIR"),
        ("sv_metrics", "--trials x --scores y z --output_dir DIR DIR"),
        ("sv_compare", "--plan DIR/comparison.md --output_dir DIR"),
        ("sv_make_trials", "--utt2spk IN --output IN"),
        ("sv_make_trials", "--utt2spk x --output z --condition_output z"),
        ("sv_describe", "--system x --text IN --text_joint y --output IN"),
        ("sv_results", "a=IN --output IN"),
        ("sv_results", "a=x --layout IN --output IN"),
        ("sv_embed", "--model x --wav_scp DIR/xvector.scp --output_dir DIR"),
        ("sv_embed", "--model x --wav_scp IN --output_dir DIR --system IN"),
        ("sv_joint", "--model x --wav_scp DIR/text --output_dir DIR"),
        ("sv_pack", "--exp x --option IN --output IN"),
        ("sv_check_data", "DIR --utt2dur DIR/wav.scp"),
        (
            "sv_layer_probe",
            "--asr x --wav_scp x --trials DIR/layer_probe.md --output_dir DIR",
        ),
    ],
)
def test_commands_refuse(tmp_path, monkeypatch, command, options):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "input"
    path.write_text("kept")
    options = options.replace("DIR", str(tmp_path)).replace("IN", str(path))
    with pytest.raises(SVError, match=r"overwritten|two outputs"):
        importlib.import_module(f"espnet2_sv.bin.{command}").main(options.split())
    assert path.read_text() == "kept"
    assert os.listdir(tmp_path) == ["input"]
