import hashlib

import pytest
from fotaq.archive import QueenArchive

from espnet2_sv.errors import SVError


def test_all_entries_are_there_as_they_were_written(queen):
    archive = QueenArchive(queen.path)
    assert list(archive.entries) == list(queen.entries)
    for name, content in queen.entries.items():
        assert archive.read(name) == content
    assert archive.sha256() == hashlib.sha256(queen.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("left", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_named(queen, tmp_path, left):
    data = queen.path.read_bytes()
    path = tmp_path / "cut.1c"
    path.write_bytes(data[: int(left * len(data))])
    with pytest.raises(SVError, match=r"cut\.1c: is truncated.*fetch the package"):
        QueenArchive(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a queen.1c"),
        (b"QTB", "is not a queen.1c"),
        (b"RIFF" + bytes(100), "is not a queen.1c"),
        (b"!<arch>\ndebian-binary   " + bytes(100), "is a Debian package"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SVError, match=message):
        QueenArchive(tmp_path / "x")


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ({"version": b"PEM10"}, "version PEM10 with compression 1"),
        ({"version": b"CGM10"}, "version CGM10 with compression 1"),
        ({"compression": 2}, "version CEM10 with compression 2"),
    ],
)
def test_other_versions_are_refused(pack, head, found):
    with pytest.raises(SVError, match=f"queen.1c: is {found}"):
        pack({"A.SB": b"x"}, **head)


def test_what_is_missing_is_named(queen, tmp_path):
    with pytest.raises(SVError, match="none: cannot be read"):
        QueenArchive(tmp_path / "none")
    with pytest.raises(SVError, match=r"queen.1c: has no entry NOBODY.SB"):
        QueenArchive(queen.path).read("NOBODY.SB")
