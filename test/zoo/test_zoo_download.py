"""Tags are downloaded by ESPnet's downloader, which tests replace."""

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.download import download

ZENODO = "https://zenodo.org/record/4003381/files/asr.zip?download=1"


TABLE = {
    "kamo-naoyuki/wsj": ZENODO,
    "espnet/old": "https://huggingface.co/espnet/renamed",
}


class Downloader:
    def get_url(self, name):
        return name if name.startswith("http") else TABLE.get(name, "huggingface.co")

    def download(self, name):
        return "/cache/fetched.zip"

    def huggingface_download(self, name):
        if "missing" in name:
            raise OSError(f"401 Client Error\nRepository Not Found: {name}")
        return f"/hub/{name}"

    def download_and_unpack(self, name):
        raise AssertionError(
            "an archive from elsewhere is unpacked by this project alone"
        )


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("espnet_model_zoo.downloader.ModelDownloader", Downloader)


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("kamo-naoyuki/wsj", "/cache/fetched.zip"),
        ("espnet/new", "/hub/espnet/new"),
        ("espnet/new@v1.2", "/hub/espnet/new@v1.2"),
        ("espnet/old", "/hub/espnet/renamed"),
        ("https://huggingface.co/espnet/new", "/hub/espnet/new"),
        (ZENODO, "/cache/fetched.zip"),
    ],
)
def test_tags(tag, path):
    assert str(download(tag)) == path


def test_wrong_tag_is_told_in_one_line():
    with pytest.raises(SVError, match=r"espnet/missing: .*Not Found") as e:
        download("espnet/missing")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "path",
    [
        "model.zip",
        "exp/model.zip",
        "./a/b",
        "../a",
        "/a/b",
        "~/a",
        "exp/asr/run",
        "word",
    ],
)
def test_paths_are_not_looked_for_in_the_network(path, monkeypatch):
    monkeypatch.setattr(
        Downloader, "get_url", lambda *a: pytest.fail("asked the network")
    )
    with pytest.raises(SVError, match="no such file"):
        download(path)
