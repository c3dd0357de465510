import zipfile

import pytest

from espnet2_sv.bin.sv_pack import main
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.calibration import Calibration


def test_an_archive_is_written_and_listed(speaker_exp, tmp_path, capsys):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    Calibration(1.0, 0.0, {}, {}).save(tmp_path / "cal.json")
    outpath = tmp_path / "packed" / "model.zip"
    command = ["--exp", str(speaker_exp), "--output", str(outpath)]
    command += [
        "--option",
        str(tmp_path / "a.txt"),
        "--option",
        str(tmp_path / "b.txt"),
    ]
    main([*command, "--calibration", str(tmp_path / "cal.json")])
    with zipfile.ZipFile(outpath) as archive:
        names = archive.namelist()
    assert {"meta.yaml", "a.txt", "b.txt", "exp/sv_tiny/calibration.json"} <= set(names)
    assert capsys.readouterr().out.splitlines()[:-1] == names


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(SVError, match="nowhere"):
        main(["--exp", str(tmp_path / "nowhere"), "--output", str(tmp_path / "m.zip")])


def test_an_adaptor_is_packed_in_three_ways(zoo, tmp_path, capsys):
    sizes = {}
    for layout in ("sv", "joint", "adaptor"):
        zip_path = tmp_path / f"{layout}.zip"
        main(
            [
                "--exp",
                str(zoo.adaptor()),
                "--output",
                str(zip_path),
                "--format",
                layout,
            ]
        )
        names = capsys.readouterr().out.splitlines()
        assert ("asr/model.pth" in names) == (layout != "adaptor")
        sizes[layout] = zip_path.stat().st_size
    assert sizes["adaptor"] < sizes["joint"]
