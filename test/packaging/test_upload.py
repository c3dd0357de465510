"""Uploads to a Hub on this machine, by the real client."""

import zipfile

import huggingface_hub
import pytest
from hub_server import TOKEN
from huggingface_hub import HfApi, ModelCard, constants

from espnet2_sv.errors import SVError
from espnet2_sv.packaging import upload
from espnet2_sv.packaging.card_data import CardDetails
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.packaging.upload import upload_model

# of huggingface_hub's own upload of large files
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<:DeprecationWarning")


@pytest.fixture(scope="module")
def archive(speaker_exp, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "model.zip"
    pack_model(speaker_exp, path, details=CardDetails(license="cc-by-4.0"))
    return path


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token=TOKEN)


def contents(archive):
    with zipfile.ZipFile(archive) as z:
        return {name: z.read(name) for name in z.namelist()}


def test_every_file_of_the_archive_is_sent_once(archive, hub, api):
    sent = upload_model(archive, "org/sv_tiny", api=api)
    repository = hub.repositories["org/sv_tiny"]
    assert repository.files == contents(archive)
    assert repository.large >= {"exp/sv_tiny/valid.eer.best.pth"}
    assert not repository.private
    assert sent.url == f"{hub.url}/org/sv_tiny"
    sizes = {name: len(data) for name, data in repository.files.items()}
    assert dict(sent.files) == sizes
    assert hub.asked("POST /lfs-verify") == hub.asked("PUT /lfs/") > 0
    transferred = hub.asked("PUT /lfs/")
    upload_model(archive, "org/sv_tiny", api=api)  # nothing has changed
    assert len(repository.commits) == 1 and hub.asked("PUT /lfs/") == transferred


def test_a_new_version_replaces_what_has_changed(archive, speaker_exp, hub, tmp_path):
    api = HfApi(endpoint=hub.url, token=TOKEN)
    upload_model(archive, "org/sv_tiny", private=True, api=api)
    assert hub.repositories["org/sv_tiny"].private
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n\n# Another\n")
    options = [tmp_path / "README.md"]
    pack_model(speaker_exp, tmp_path / "new.zip", options=options)
    upload_model(tmp_path / "new.zip", "org/sv_tiny", api=api)
    repository = hub.repositories["org/sv_tiny"]
    assert repository.files == contents(tmp_path / "new.zip")
    assert set(repository.commits[1]) == {"README.md", "meta.yaml"}  # meta has the time


def test_a_dry_run_sends_nothing_and_needs_no_token(archive, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    listed = upload_model(archive, "org/sv_tiny", dry_run=True)
    assert listed.url is None and not hub.requests
    assert {name for name, _ in listed.files} == set(contents(archive))


def refusal(archive, api, repository="org/sv_tiny") -> str:
    """The line that an upload ends with."""
    with pytest.raises(SVError) as error:
        upload_model(archive, repository, api=api)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"the Hub refused {repository}: ")
    return str(error.value)


def test_a_missing_token_is_told_in_one_line(archive, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(SVError, match="HF_TOKEN") as error:
        upload_model(archive, "org/sv_tiny")
    assert "\n" not in str(error.value)


def test_a_wrong_token_is_told_in_one_line(archive, hub):
    line = refusal(archive, HfApi(endpoint=hub.url, token="hf_wrong"))
    assert "Invalid username or password" in line and "check token" in line
    assert "hf_wrong" not in line
    assert hub.repositories == {}


@pytest.mark.parametrize(
    "request_",
    ["POST /api/repos/create", "/preupload/", "/lfs/objects/batch", "PUT", "/commit/"],
)
def test_an_error_of_the_hub_is_told_in_one_line(archive, hub, api, request_):
    hub.faults[request_] = 503
    line = refusal(archive, api)
    assert "503" in line and hub.url in line


def test_a_hub_without_xet_storage_is_told_in_one_line(archive, hub, api, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)  # as by default
    assert "xet-write-token" in refusal(archive, api)


def test_an_upload_that_broke_off_is_completed_by_the_same_command(archive, hub, api):
    hub.faults["/commit/"] = 500
    refusal(archive, api)
    hub.faults.clear()
    upload_model(archive, "org/sv_tiny", api=api)
    assert hub.repositories["org/sv_tiny"].files == contents(archive)
    weights = hub.asked("PUT /lfs/")
    assert weights == len(hub.objects)  # each was sent once


@pytest.mark.parametrize("request_", ["POST /api/repos/create", "PUT /lfs/"])
def test_a_silent_hub_is_given_up(archive, hub, api, request_, monkeypatch):
    monkeypatch.setattr(upload, "TIMEOUT_SECONDS", 0.3)
    hub.faults[request_] = 0
    assert "timed out" in refusal(archive, api)


def test_a_hub_that_is_not_there_is_told_in_one_line(archive, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    api = HfApi(endpoint="http://127.0.0.1:9", token=TOKEN)
    assert "refused" in refusal(archive, api)


def test_the_client_waits_as_before_afterwards(archive, hub, api):
    before = huggingface_hub.get_session().timeout
    upload_model(archive, "org/sv_tiny", api=api)
    assert huggingface_hub.get_session().timeout == before


def test_a_card_that_the_hub_refuses_is_not_sent(speaker_exp, hub, api, tmp_path):
    details = CardDetails(license="no-such-licence")
    pack_model(speaker_exp, tmp_path / "model.zip", details=details)
    with pytest.raises(SVError, match=r'README\.md: .*: "license" must be one of') as e:
        upload_model(tmp_path / "model.zip", "org/sv_tiny", api=api)
    assert "{" not in str(e.value)
    assert hub.repositories == {}


def test_the_card_of_a_package_is_one_that_the_hub_accepts(archive, hub):
    ModelCard(contents(archive)["README.md"].decode()).validate()
    assert hub.requests == ["POST /api/validate-yaml"]


@pytest.mark.parametrize("repository", ["sv_tiny", "a/b/c", "org/", "org/na me"])
def test_a_wrong_repository_is_refused(archive, repository):
    with pytest.raises(SVError, match="ORGANISATION/NAME"):
        upload_model(archive, repository, dry_run=True)


def test_what_is_no_speaker_model_is_not_sent(hub, api, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as z:
        z.writestr(
            "meta.yaml",
            "files: {asr_model_file: a}\nyaml_files: {asr_train_config: b}\n",
        )
    for name in ("broken.zip", "other.zip", "nowhere.zip"):
        with pytest.raises(SVError):
            upload_model(tmp_path / name, "org/sv_tiny", api=api)
    assert hub.requests == []
