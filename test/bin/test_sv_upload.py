import pytest

from espnet2_sv.bin.sv_pack import main as pack
from espnet2_sv.bin.sv_upload import main
from espnet2_sv.errors import SVError


@pytest.fixture
def archive(speaker_exp, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    pack(["--exp", str(speaker_exp), "--output", str(tmp_path / "model.zip")])
    return str(tmp_path / "model.zip")


def test_a_dry_run_lists_the_files(archive, capsys):
    capsys.readouterr()
    main(["--zip", archive, "--repo", "org/name", "--dry_run", "true"])
    out = capsys.readouterr().out
    assert "exp/sv_tiny/config.yaml" in out
    assert "5 files would be sent to org/name" in out


def test_without_a_token_it_says_so(archive):
    with pytest.raises(SVError, match="token"):
        main(["--zip", archive, "--repo", "org/name"])
