"""The command prints its summary and nothing else."""

import json

from espnet2_sv.bin.sv_resolve import main


def test_json(speaker_exp, tmp_path, capsys):
    for _ in range(2):  # resolved now, resolved before
        main(
            ["--model", str(speaker_exp), "--output_dir", str(tmp_path / "x"), "--json"]
        )
        summary = json.loads(capsys.readouterr().out)
        assert list(summary) == ["task", "embedding", "sample_rate"]


def test_lines(speaker_exp, tmp_path, capsys):
    main(["--model", str(speaker_exp), "--output_dir", str(tmp_path / "x")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "scratch"]
    assert lines[2].split() == ["sample", "rate", "16,000"]
