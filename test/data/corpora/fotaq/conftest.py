"""A small archive in the game's layout, and what it is made with."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from espnet2_sv.data.corpora.fotaq.archive import QueenArchive


@pytest.fixture(scope="session")
def queens():
    """The module that makes archives."""
    path = Path(__file__).parents[3] / "queen_archive.py"
    spec = importlib.util.spec_from_file_location("queen_archive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def queen(queens, tmp_path_factory):
    """An archive of all characters; not to be changed."""
    return queens.make_queen(tmp_path_factory.mktemp("queen") / "queen.1c")


@pytest.fixture
def own_queen(queens, queen, tmp_path):
    """A copy for one test: ``write()`` writes it with changed entries."""
    path = shutil.copy(queen.path, tmp_path / "queen.1c")
    return queens.Queen(Path(path), dict(queen.entries), dict(queen.texts), dict(queen.seconds))


@pytest.fixture
def pack(queens, tmp_path):
    """A function from entries to an archive that is open."""

    def write(entries, **head):
        path = tmp_path / "queen.1c"
        path.write_bytes(queens.pack_archive(entries, **head))
        return QueenArchive(path)

    return write
