import subprocess
import sys

import pytest

from espnet2_sv.bin.sv_check_data import main
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(600)


def test_a_valid_directory_passes(corpus, capsys):
    main(
        [
            str(corpus.root),
            "--train",
            "true",
            "--trials",
            corpus.trials,
            "--check_audio",
            "full",
        ]
    )
    assert capsys.readouterr().out == ""


def test_problems_are_printed_one_per_line(corpus, tmp_path, capsys):
    for name in ("wav.scp", "utt2spk", "spk2utt"):
        (tmp_path / name).write_text((corpus.root / name).read_text())
    (tmp_path / "trials").write_text(
        "spk00-utt00 nobody target\nspk00-utt00 spk01-utt00 maybe\n"
    )
    edited = (tmp_path / "wav.scp").read_text().replace("spk01-utt01.wav", "gone.wav")
    (tmp_path / "wav.scp").write_text(edited)
    with pytest.raises(SVError, match=rf"^{tmp_path}: 4 problem\(s\), listed above$"):
        main([str(tmp_path), "--trials", str(tmp_path / "trials")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for part in (
        "label maybe",
        "utterance nobody of 1",
        "no nontarget",
        "utterance spk01-utt01: ",
    ):
        assert sum(part in line for line in lines) == 1


def test_the_command_exits_with_one(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "espnet2_sv.bin.sv_check_data",
            str(tmp_path),
            "--nj",
            "2",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == f"{tmp_path}/wav.scp: is missing\n"
    assert (
        done.stderr.splitlines()[-1] == f"error: {tmp_path}: 1 problem(s), listed above"
    )
