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


def test_what_is_shared_is_listed_in_a_file_and_noted(corpus, tmp_path, capsys, caplog):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("wav.scp", "utt2spk", "spk2utt"):
        lines = (corpus.root / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.startswith("spk00")]
        (other / name).write_text("".join(kept))
    command = [str(other), "--overlap_only", "true", "--against", str(corpus.root)]
    command += ["--report", f"{tmp_path}/report", "--notes", f"{tmp_path}/notes"]
    with pytest.raises(SVError, match=r"7 problem\(s\), listed above"):
        main([*command, "--max_listed", "2"])
    printed = capsys.readouterr().out.splitlines()
    listed = (tmp_path / "report").read_text().splitlines()
    assert len(printed) == 1 + 2 + 1 + 2 + 1  # the speaker, utterances, recordings
    assert printed[3] == f"shared utterances: 1 more, listed in {tmp_path}/report"
    assert len(listed) == 7
    main([*command, "--allow_overlap", "all", "--against_names", "training"])
    assert capsys.readouterr().out == ""
    assert "1 of 1 speaker is also in" in caplog.text
    notes = (tmp_path / "notes").read_text()
    assert "other: 1 of 1 speaker was also in training\n" in notes


def test_trials_may_be_in_the_files_of_a_spk1_recipe(corpus, tmp_path):
    audio = {}
    for name in ("wav.scp", "utt2spk", "spk2utt"):
        (tmp_path / name).write_text((corpus.root / name).read_text())
    for line in (tmp_path / "wav.scp").read_text().splitlines():
        utt, audio[utt] = line.split()
    a, b, c = list(audio)[:2] + list(audio)[-1:]
    for name, values in (
        ("trial.scp", (audio[a], audio[a])),
        ("trial2.scp", (audio[b], audio[c])),
        ("trial_label", ("1", "0")),
    ):
        (tmp_path / name).write_text(f"{a}*{b} {values[0]}\n{a}*{c} {values[1]}\n")
    command = [str(tmp_path), "--trials", f"{tmp_path}/trials"]
    main(command)
    (tmp_path / "trial_label").write_text(f"{a}*{b} 0\n{a}*{c} 0\n")
    with pytest.raises(SVError, match=r"2 problem\(s\)"):  # the label, no targets
        main(command)


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
