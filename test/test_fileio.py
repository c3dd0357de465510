import concurrent.futures
import fcntl
import os
import resource
import subprocess
import sys

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import (
    atomic_write,
    fresh_folder,
    locked,
    read_json,
    require_writable,
)

pytestmark = pytest.mark.execution_timeout(600)


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


def test_a_full_disk_is_told_in_one_line(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with (
            pytest.raises(SVError, match=f"{path}: cannot be written.*free some space"),
            atomic_write(path) as f,
        ):
            f.write("x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_output_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    with (
        pytest.raises(SVError, match="out: cannot be written"),
        atomic_write(tmp_path / "out") as f,
    ):
        f.write("x")
    assert os.listdir(tmp_path) == ["out"]


def test_errors_of_other_files_are_not_blamed_on_the_output(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="input"),
        atomic_write(tmp_path / "out") as f,
    ):
        f.write((tmp_path / "input").read_text())


def test_a_link_in_the_place_of_an_output_is_replaced(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").symlink_to("precious")
    with atomic_write(tmp_path / "out") as f:
        f.write("x")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "out").is_symlink()


def test_long_names_can_be_written(tmp_path):
    path = tmp_path / ("é" * 127)
    with atomic_write(path) as f:
        f.write("x")
    assert path.read_text() == "x"


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    with fresh_folder(tmp_path / "out") as part:
        (part / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(KeyError), fresh_folder(tmp_path / "out", replace=True) as part:
        (part / "a").write_text("2")
        raise KeyError
    assert (tmp_path / "out" / "a").read_text() == "1"
    with fresh_folder(tmp_path / "out", replace=True) as part:
        (part / "a").write_text("3")
    assert (tmp_path / "out" / "a").read_text() == "3"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SVError, match="out: cannot be written"),
        fresh_folder(tmp_path / "file" / "out"),
    ):
        pass


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_leftovers_of_killed_runs_are_removed_and_those_of_live_ones_kept(
    kind, tmp_path
):
    """It does not depend on process ids, which other hosts have, too."""
    write = {
        "file": "with atomic_write('out') as f: f.write('x'); print(flush=1); wait()",
        "folder": "with fresh_folder('out') as f: print(flush=True); wait()",
    }[kind]
    code = f"from espnet2_sv.fileio import *; wait = input\n{write}"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for run in runs:
        run.stdout.readline()
    assert len(list(tmp_path.glob(".out.*.part"))) == 2
    runs[0].kill()
    runs[0].communicate()
    with atomic_write(tmp_path / "out") as f:
        f.write("mine")
    assert len(list(tmp_path.glob(".out.*.part"))) == 1
    (tmp_path / "out").unlink()
    runs[1].communicate(b"\n")
    assert runs[1].returncode == 0
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("write", [atomic_write, fresh_folder])
def test_a_run_is_not_swept_by_another_that_starts_at_the_same_time(
    write, tmp_path, monkeypatch
):
    """The other one looks for leftovers before the first has a lock, or just then."""
    flock, real_open = fcntl.flock, os.open
    swept = []

    def sweep_first(path, flags, *mode):
        if str(path).endswith(".part") and len(swept) < 2:
            swept.append("before it is open")
            if write is fresh_folder:
                os.rmdir(path)
        return real_open(path, flags, *mode)

    def lock_later(descriptor, operation):
        if len(swept) < 4:
            swept.append("before it is locked")
            raise BlockingIOError
        return flock(descriptor, operation)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", sweep_first)
        patched.setattr(fcntl, "flock", lock_later)
        with write(tmp_path / "out") as out:
            assert len(swept) == 4
            if write is atomic_write:
                out.write("mine")
            else:
                (out / "file").write_text("mine")
    assert (tmp_path / "out").exists()


def test_what_is_no_json_is_named(tmp_path):
    path = tmp_path / "x.json"
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000):
        path.write_bytes(content)
        with pytest.raises(SVError, match=r"x\.json"):
            read_json(path)


def test_a_name_that_is_not_utf8_is_refused_and_the_old_file_stays(tmp_path):
    (tmp_path / "wav.scp").write_text("old\n")
    with (
        pytest.raises(SVError, match=r"wav.scp: cannot be written, .*\\udcff"),
        atomic_write(tmp_path / "wav.scp") as f,
    ):
        f.write("a /data/\udcff.wav\n")
    assert os.listdir(tmp_path) == ["wav.scp"]
    assert (tmp_path / "wav.scp").read_text() == "old\n"
