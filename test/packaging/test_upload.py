import zipfile
from pathlib import Path

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.packaging.upload import upload_model


class FakeHub:
    """Remembers what it was sent."""

    def __init__(self, error=None):
        self.repository = None
        self.files = {}
        self.error = error

    def create_repo(self, repo_id, *, repo_type, private, exist_ok):
        assert (repo_type, exist_ok) == ("model", True)
        self.repository = (repo_id, private)
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, *, repo_id, repo_type, folder_path, commit_message):
        if self.error:
            raise self.error
        assert (repo_id, repo_type) == (self.repository[0], "model")
        assert commit_message
        for path in Path(folder_path).rglob("*"):
            if path.is_file():
                self.files[path.relative_to(folder_path).as_posix()] = path.read_bytes()


@pytest.fixture(scope="module")
def archive(speaker_exp, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "model.zip"
    pack_model(speaker_exp, path)
    return path


def contents(archive):
    with zipfile.ZipFile(archive) as z:
        return {name: z.read(name) for name in z.namelist()}


def test_every_file_of_the_archive_is_sent(archive):
    hub = FakeHub()
    sent = upload_model(archive, "org/sv_tiny", api=hub)
    assert hub.repository == ("org/sv_tiny", False)
    assert hub.files == contents(archive)
    assert sent.url == "https://hub.example/org/sv_tiny"
    assert dict(sent.files) == {name: len(data) for name, data in hub.files.items()}


def test_a_dry_run_sends_nothing_and_needs_no_token(archive, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    hub = FakeHub()
    listed = upload_model(archive, "org/sv_tiny", dry_run=True, api=hub)
    assert (hub.repository, hub.files, listed.url) == (None, {}, None)
    assert {name for name, _ in listed.files} == set(contents(archive))
    assert upload_model(archive, "org/sv_tiny", dry_run=True) == listed


def test_a_missing_token_is_told_in_one_line(archive, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(SVError, match="HF_TOKEN") as error:
        upload_model(archive, "org/sv_tiny")
    assert "\n" not in str(error.value)


def test_a_refusal_of_the_hub_is_told_in_one_line(archive):
    hub = FakeHub(error=ConnectionError("403\nForbidden"))
    with pytest.raises(SVError, match="403 Forbidden"):
        upload_model(archive, "org/sv_tiny", api=hub)


@pytest.mark.parametrize("repository", ["sv_tiny", "a/b/c", "org/", "org/na me"])
def test_a_wrong_repository_is_refused(archive, repository):
    with pytest.raises(SVError, match="ORGANISATION/NAME"):
        upload_model(archive, repository, dry_run=True)


def test_what_is_no_speaker_model_is_not_sent(tmp_path):
    hub = FakeHub()
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as z:
        z.writestr(
            "meta.yaml",
            "files: {asr_model_file: a}\nyaml_files: {asr_train_config: b}\n",
        )
    for name in ("broken.zip", "other.zip", "nowhere.zip"):
        with pytest.raises(SVError):
            upload_model(tmp_path / name, "org/sv_tiny", api=hub)
    assert hub.repository is None
