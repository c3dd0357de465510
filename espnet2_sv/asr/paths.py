"""Paths that an ASR configuration names, found again where the model lies now."""

import os
from pathlib import Path

from espnet2_sv.asr.archive import ModelFiles, stays
from espnet2_sv.errors import SVError


def locate(files: ModelFiles, key: str, value: str) -> Path | None:
    """Find a file that the configuration names.

    In a package, paths start at its folder, and nothing outside is ever taken: of a path that names
    another place (as training recorded it) the longest ending that exists in the folder is meant.
    In the ``exp/`` folder of a training run they start at the recipe, the current folder or one of
    the folders above.

    Args:
        files: The model.
        key: The setting's name, for messages.
        value: The path as it is written.

    Returns:
        The path, or None if there is no such file.

    Raises:
        SVError: In a package, the path leads out of the folder.
    """
    path = Path(value)
    if not files.packed:
        starts = [Path(), files.root, *files.root.resolve().parents]
        return next((s / path for s in starts if (s / path).is_file()), None)
    if ".." in path.parts:
        raise SVError(f"{files.config}: refused, {key} leads out of the folder: {value!r}")
    parts = [part for part in path.parts if part != path.anchor]
    for start in range(len(parts)):
        inside = files.root.joinpath(*parts[start:])
        if inside.is_file() and not _links_out(inside, files):
            return inside
    if path.is_absolute():
        raise SVError(f"{files.config}: refused, {key} is outside of the folder: {value!r}")
    return None


def _links_out(path: Path, files: ModelFiles) -> bool:
    return os.path.islink(path) and not stays(path, files.root)
