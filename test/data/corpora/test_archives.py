import io
import os
import stat
import tarfile
import zipfile
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.corpora import archives
from espnet2_sv.data.corpora.archives import JoinedFile, find_parts, unpack_once
from espnet2_sv.errors import SVError

CONTENTS = {f"wav/id10001/x/{i:05d}.wav": bytes([i]) * (700 + i) for i in range(20)}


def files_below(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def times(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_zip_or_its_parts_are_unpacked_once(make_zip, tmp_path, parts):
    archive, out = make_zip(CONTENTS, parts), tmp_path / "out"
    assert unpack_once(archive, out)
    assert files_below(out) == CONTENTS
    before = times(out)
    assert not unpack_once(archive, out)
    assert times(out) == before


def test_a_tar_is_unpacked_once(tmp_path):
    for name in ("musan/noise/a.wav", "musan/README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with tarfile.open(tmp_path / "musan.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "musan", "./musan")
    assert unpack_once([tmp_path / "musan.tar.gz"], tmp_path / "out")
    assert files_below(tmp_path / "out") == {
        "musan/noise/a.wav": b"musan/noise/a.wav",
        "musan/README": b"musan/README",
    }
    assert not unpack_once([tmp_path / "musan.tar.gz"], tmp_path / "out")


def test_a_killed_unpacking_goes_on_behind_what_is_there(
    make_zip, tmp_path, monkeypatch
):
    archive, out = make_zip(CONTENTS, 3), tmp_path / "out"
    real, written = archives._write, []

    def killed(member, path):
        if len(written) == 11:
            raise KeyboardInterrupt
        written.append(path)
        real(member, path)

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            unpack_once(archive, out)
    before = times(out / "wav/id10001/x")
    assert len(before) == 11
    assert unpack_once(archive, out)
    assert files_below(out) == CONTENTS
    assert before.items() <= times(out / "wav/id10001/x").items()


def test_half_a_file_is_written_again(make_zip, tmp_path):
    archive, out = make_zip(CONTENTS), tmp_path / "out"
    unpack_once(archive, out)
    (out / "wav/id10001/x/00003.wav").write_bytes(b"half")
    (out / ".vox1_dev_wav.zip.unpacked").unlink()
    assert unpack_once(archive, out)
    assert files_below(out) == CONTENTS


def test_another_archive_of_that_name_is_unpacked(make_zip, tmp_path):
    unpack_once(make_zip({"wav/a": b"a"}), tmp_path / "out")
    assert unpack_once(make_zip({"wav/a": b"a", "wav/b": b"b"}), tmp_path / "out")
    assert files_below(tmp_path / "out") == {"wav/a": b"a", "wav/b": b"b"}


def test_a_missing_last_part_is_reported(make_zip, tmp_path):
    *rest, _ = make_zip(CONTENTS, 4)
    with pytest.raises(
        SVError, match=r"partaa to partac: is damaged or incomplete .*perhaps truncated"
    ):
        unpack_once(rest, tmp_path / "out")
    assert files_below(tmp_path / "out") == {}


def test_a_truncated_last_part_is_reported(make_zip, tmp_path):
    archive = make_zip(CONTENTS, 4)
    archive[-1].write_bytes(archive[-1].read_bytes()[:-5])
    with pytest.raises(SVError, match="is damaged or incomplete"):
        unpack_once(archive, tmp_path / "out")


def test_damage_inside_is_reported_and_no_bad_file_stays(make_zip, tmp_path):
    (archive,) = make_zip(CONTENTS)
    data = bytearray(archive.read_bytes())
    place = data.index(b"00007.wav") + 12
    data[place : place + 3] = b"xyz"
    archive.write_bytes(data)
    with pytest.raises(SVError, match="is damaged or incomplete"):
        unpack_once([archive], tmp_path / "out")
    assert files_below(tmp_path / "out").items() <= CONTENTS.items()


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_tar_is_reported_also_when_its_files_are_there(
    tmp_path, noise, part
):
    (tmp_path / "musan").mkdir()
    for i in range(5):
        (tmp_path / f"musan/{i}.wav").write_bytes(noise(9000, seed=i).tobytes())
    path = tmp_path / "musan.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "musan", "musan")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    for out in (
        tmp_path / "out",
        tmp_path,
    ):  # in the second, all files are there already
        with pytest.raises(SVError, match=r"musan\.tar\.gz: is damaged or incomplete"):
            unpack_once([path], out)


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", ".."]
)
def test_names_that_lead_elsewhere_are_refused(make_zip, tmp_path, name):
    with pytest.raises(SVError, match=r"vox1_dev_wav\.zip: refused, .* points outside"):
        unpack_once(make_zip({"wav/good": b"", name: b""}), tmp_path / "deep/out")
    assert not list(tmp_path.rglob("evil"))


def test_links_are_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SVError, match="'link' is a link"):
        unpack_once([tmp_path / "x.zip"], tmp_path / "out")


def test_a_full_disk_is_reported_before_anything_is_written(
    make_zip, tmp_path, monkeypatch
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage(0, 0, 50_000))
    archive = make_zip(CONTENTS)
    with pytest.raises(
        SVError, match=r"out: .*wav\.zip needs 0\.0 GiB more, 0\.0 GiB are free"
    ):
        unpack_once(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == {}
    for name, content in list(CONTENTS.items())[8:]:  # what is there needs no room
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    assert unpack_once(archive, tmp_path / "out")


@given(
    contents=st.lists(st.binary(max_size=9), min_size=1, max_size=5),
    moves=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8),
)
def test_parts_read_as_the_whole(tmp_path_factory, contents, moves):
    folder = tmp_path_factory.mktemp("parts")
    paths = [folder / str(i) for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    whole = io.BytesIO(b"".join(contents))
    with io.BufferedReader(JoinedFile(paths), 4) as joined:
        assert joined.read() == whole.read()
        for position, count in moves:
            assert joined.seek(position) == whole.seek(position)
            assert joined.read(count) == whole.read(count)
        assert joined.seek(0, os.SEEK_END) == whole.seek(0, os.SEEK_END)


def test_going_before_the_beginning_is_an_error(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with (
        JoinedFile([tmp_path / "a"]) as joined,
        pytest.raises(OSError, match="negative seek"),
    ):
        joined.seek(-4, os.SEEK_END)


def write_parts(folder, sizes):
    for letters, size in sizes.items():
        (folder / f"vox2_dev_aac_part{letters}").write_bytes(b"x" * size)


def test_parts_are_found_in_order(tmp_path):
    write_parts(tmp_path, {"ab": 5, "aa": 5, "ac": 2})
    (tmp_path / "vox2_dev_aac_partaa.md5").touch()
    found = find_parts(tmp_path, "vox2_dev_aac_")
    assert [path.name[-2:] for path in found] == ["aa", "ab", "ac"]
    assert find_parts(tmp_path, "vox1_dev_wav_") == []
    assert find_parts(tmp_path / "none", "vox1_dev_wav_") == []


@pytest.mark.parametrize(("there", "missing"), [("ab ac", "aa"), ("aa ac ad", "ab")])
def test_a_missing_part_is_named(tmp_path, there, missing):
    write_parts(tmp_path, dict.fromkeys(there.split(), 5))
    with pytest.raises(
        SVError, match=rf"^{tmp_path}/vox2_dev_aac_part{missing}: is missing"
    ):
        find_parts(tmp_path, "vox2_dev_aac_")


@pytest.mark.parametrize(
    ("sizes", "short"), [((4, 5, 5, 1), "aa"), ((5, 4, 5, 1), "ab")]
)
def test_a_truncated_part_is_named(tmp_path, sizes, short):
    write_parts(tmp_path, dict(zip(("aa", "ab", "ac", "ad"), sizes, strict=True)))
    with pytest.raises(SVError, match=rf"part{short}: is truncated, it has 4 bytes"):
        find_parts(tmp_path, "vox2_dev_aac_")
