"""ESPnet's own checks of the plugin in an ESPnet tree: tools/upstream.sh check."""

import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(3600)]

PARTS = ("configuration", "names", "syntax", "scripts", "style", "doc", "pytest")


def test_espnets_own_checks_pass_and_change_nothing(espnet_tree, upstream, tmp_path):
    before = _state(espnet_tree)
    done = upstream("check", "--quick", espnet_tree, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout
    lines = [line.partition(" [")[0] for line in done.stdout.splitlines()]
    assert lines == [f"check: {part} ok" for part in PARTS]
    assert _state(espnet_tree) == before
    assert not list(tmp_path.iterdir())


def _state(tree: Path) -> dict[str, tuple]:
    """What each file is and when it was changed, by path."""
    found = {}
    for folder, folders, files in os.walk(tree):
        for path in (Path(folder, name) for name in folders + files):
            status = path.lstat()
            target = os.readlink(path) if path.is_symlink() else None
            found[str(path)] = (status.st_mode, status.st_mtime_ns, target)
    return found
