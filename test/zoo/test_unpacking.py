import os
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_sv.errors import SVError
from espnet2_sv.zoo import unpacking
from espnet2_sv.zoo.unpacking import unpack

pytestmark = pytest.mark.execution_timeout(200)


def everything(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


def refused(tmp_path, reason):
    """The archive is refused in one line, and leaves nothing behind."""
    before = everything(tmp_path)
    with pytest.raises(SVError, match=reason) as e:
        unpack(tmp_path / "x.zip", tmp_path / "deep" / "out")
    assert "\n" not in str(e.value)
    assert everything(tmp_path) - before <= {(tmp_path / "deep").relative_to(tmp_path)}


def test_contents_arrive(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.yaml", "a: 1")
        archive.mkdir("exp")
        archive.writestr("exp/asr/model.pth", b"\0" * 1000)
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert (tmp_path / "out" / "meta.yaml").read_text() == "a: 1"
    assert (tmp_path / "out" / "exp" / "asr" / "model.pth").read_bytes() == b"\0" * 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.zip"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "a/../../evil.txt",
        "a/../b.txt",
        "/etc/evil.txt",
        "..",
        "C:/evil.txt",
        "..\\evil.txt",
        "\\\\host\\evil.txt",
        ".",
    ],
)
def test_names_that_lead_elsewhere(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(zipfile.ZipInfo(name), "evil")
    refused(tmp_path, "leads out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(kind, tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, str(tmp_path))
        archive.writestr("link/evil.txt", "evil")
    refused(tmp_path, "a link or a device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "1")
        archive.writestr("a.txt", "2")
    refused(tmp_path, "two files with one name")


def test_file_in_the_place_of_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a/b", "2")
    refused(tmp_path, "cannot be unpacked")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_truncated(part, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "some text " * 100)
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data[: int(len(data) * part)])
    refused(tmp_path, "not a zip archive, or damaged")


def test_damaged_contents(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "some text " * 100)
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(
        data.replace(b"some text some", b"some test some", 1)
    )
    refused(tmp_path, "damaged")


def test_something_else(tmp_path):
    (tmp_path / "x.zip").write_text("404 not found")
    refused(tmp_path, "not a zip archive")


def test_missing(tmp_path):
    with pytest.raises(SVError, match="no such file"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_file_made_to_fill_the_disk(tmp_path):
    size = unpacking.COMPRESSION_CHECKED_FROM + 1
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.pth", bytes(size))
    assert (tmp_path / "x.zip").stat().st_size < 1_000_000
    refused(tmp_path, "unpack to")


def test_one_file_among_others_made_to_fill_the_disk(tmp_path):
    size = unpacking.COMPRESSION_CHECKED_FROM + 1
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("weights.pth", bytes(10**6))  # as large as its compressed self
        archive.writestr("bomb.pth", bytes(size), zipfile.ZIP_DEFLATED)
    refused(tmp_path, "grows")


def test_many_files_made_to_fill_the_disk(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(100):
            archive.writestr(f"{i}.pth", bytes(2**20))
    refused(tmp_path, "unpack to")


@pytest.mark.parametrize("name", ["a" * 256, "/".join(["a" * 200] * 30)])
def test_names_that_no_file_can_have(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, "text")
    refused(tmp_path, "leads out")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_unpacks_or_is_refused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.yaml", "a: 1\n" * 20)
        archive.writestr("exp/weights.pth", bytes(range(50)))
    content = bytearray((folder / "x.zip").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    (folder / "x.zip").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        unpack(folder / "x.zip", folder / "out")
    except SVError as e:
        assert "\n" not in str(e)
        assert sorted(os.listdir(folder)) == ["x.zip"]


def test_more_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_ARCHIVE_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", bytes(600))
        archive.writestr("b", bytes(600))
    refused(tmp_path, "1200 bytes")


def test_more_files_than_the_limit(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(unpacking.MAX_ARCHIVE_FILES + 1):
            archive.writestr(str(i), "")
    refused(tmp_path, "10001 files")


def test_folder_in_use_is_left_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "new")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(SVError, match="choose another folder"):
        unpack(tmp_path / "x.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "old"
