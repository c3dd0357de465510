"""A small archive in the game's layout, and what it is made with."""

import shutil
import sys
from pathlib import Path

import pytest

# The recipe's local/ is not installed, and ESPnet's tests have no path to it
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "egs2/fotaq/sv1/local"))


@pytest.fixture(scope="session")
def queen(queen_archive, tmp_path_factory):
    """An archive of all characters; not to be changed."""
    return queen_archive.make_queen(tmp_path_factory.mktemp("queen") / "queen.1c")


@pytest.fixture
def own_queen(queen_archive, queen, tmp_path):
    """A copy for one test: ``write()`` writes it with changed entries."""
    path = shutil.copy(queen.path, tmp_path / "queen.1c")
    return queen_archive.Queen(
        Path(path), dict(queen.entries), dict(queen.texts), dict(queen.seconds)
    )


@pytest.fixture
def pack(queen_archive, tmp_path):
    """A function from entries to an archive that is open."""
    from fotaq.archive import QueenArchive

    def write(entries, **head):
        path = tmp_path / "queen.1c"
        path.write_bytes(queen_archive.pack_archive(entries, **head))
        return QueenArchive(path)

    return write
