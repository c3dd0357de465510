import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.corpora.joined import JoinedFile, find_parts
from espnet2_sv.errors import SVError


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
        pytest.raises(OSError, match="beginning"),
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
