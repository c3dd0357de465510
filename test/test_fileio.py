import concurrent.futures

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write, locked, require_writable


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "file"
    with atomic_write(path) as f:
        f.write("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as f:
        f.write("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SVError, match="file/x: cannot be written"),
        atomic_write(tmp_path / "file/x"),
    ):
        pass
    with pytest.raises(SVError, match="file/x: cannot be written to"):
        require_writable(tmp_path / "file" / "x")


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_one_at_a_time_makes_a_file(tmp_path):
    """Each reads what the one before has written, and nothing is left but the file."""
    path = tmp_path / "folder" / "count"

    def add_one(_):
        with locked(path):
            count = int(path.read_text()) if path.exists() else 0
            path.write_text(str(count + 1))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(200)))
    assert path.read_text() == "200"
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SVError, match="file/x: cannot be written"),
        locked(tmp_path / "file/x"),
    ):
        pass
