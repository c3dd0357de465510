import os
import subprocess
import sys
import zipfile

import pytest
from hub_server import TOKEN

from espnet2_sv.bin.sv_pack import main as pack
from espnet2_sv.bin.sv_upload import main
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(600)


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


def test_a_command_uploads_to_the_hub_of_the_environment(archive, hub):
    command = [sys.executable, "-m", "espnet2_sv.bin.sv_upload", "--zip", archive]
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [*command, "--repo", "org/name", "--private", "true"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"5 files sent to {hub.url}/org/name"
    repository = hub.repositories["org/name"]
    assert repository.private
    with zipfile.ZipFile(archive) as members:
        assert set(repository.files) == set(members.namelist())
    assert hub.asked("PUT /lfs/") == 1


def test_a_wrong_token_is_told(archive, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_wrong")
    with pytest.raises(SVError, match=r"refused org/name: .*Invalid username"):
        main(["--zip", archive, "--repo", "org/name"])
