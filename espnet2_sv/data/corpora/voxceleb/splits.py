"""The splits of VoxCeleb1 and VoxCeleb2: their folders, archives and speakers."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.corpora.archives import find_parts, unpack_once
from espnet2_sv.data.corpora.corpus import Corpus
from espnet2_sv.data.corpora.speaker_tree import scan_speakers
from espnet2_sv.data.corpora.voxceleb.counts import (
    VOXCELEB1_DEV_COUNT,
    VOXCELEB1_TEST_COUNT,
    VOXCELEB2_DEV_COUNT,
    PublishedCount,
)
from espnet2_sv.errors import SVError
from espnet2_sv.textfile import read_text

# speaker ids of VoxCeleb1; test speakers are those whose names begin with E
_SPEAKER = re.compile(r"id(?P<number>\d{5})")
_VOXCELEB1, _VOXCELEB1_TEST = range(10001, 11252), range(10270, 10310)


def is_voxceleb1_test(speaker: str) -> bool:
    """Whether it is one of the 40 speakers of VoxCeleb1 test."""
    match = _SPEAKER.fullmatch(speaker)
    return match is not None and int(match["number"]) in _VOXCELEB1_TEST


class Split(NamedTuple):
    """A split of VoxCeleb that is distributed separately.

    Attributes:
        title: Name for messages.
        variable: Variable of ``db.sh`` with the folder of its corpus.
        trees: Folders that may contain its speakers, relative to the corpus, preferred
            ones first.
        stems: File names of its archives up to ``_partaa`` or ``.zip``.
        inside: Folder to unpack it into, so that one of ``trees`` exists.
        published: Published numbers of speakers and utterances.
        owns: Whether a speaker belongs to this split rather than to another one in the
            same folder.
    """

    title: str
    variable: str
    trees: tuple[str, ...]
    stems: tuple[str, ...]
    inside: str
    published: PublishedCount
    owns: Callable[[str], bool]


VOXCELEB1_DEV = Split(
    "VoxCeleb1 dev",
    "VOXCELEB1",
    ("dev/wav", "wav", "dev", "."),
    ("vox1_dev_wav",),
    "voxceleb1/dev",
    VOXCELEB1_DEV_COUNT,
    lambda speaker: not is_voxceleb1_test(speaker),
)
VOXCELEB1_TEST = Split(
    "VoxCeleb1 test",
    "VOXCELEB1",
    ("test/wav", "wav", "test", "."),
    ("vox1_test_wav",),
    "voxceleb1/test",
    VOXCELEB1_TEST_COUNT,
    is_voxceleb1_test,
)
VOXCELEB2_DEV = Split(
    "VoxCeleb2 dev",
    "VOXCELEB2",
    ("dev/wav", "dev/flac", "dev/aac", "wav", "flac", "aac", "dev", "."),
    ("vox2_dev_aac", "vox2_aac"),
    "voxceleb2",
    VOXCELEB2_DEV_COUNT,
    lambda speaker: True,
)


def find_tree(
    split: Split, root: str | os.PathLike, unpack_dir: str | os.PathLike
) -> Path:
    """Find the folder of a split's speakers; unpack its archive if needed.

    Args:
        split: The split to find.
        root: Folder of the corpus, or of its archives.
        unpack_dir: Folder to unpack archives into.

    Raises:
        SVError: Neither exists, or the archive is damaged or incomplete.
    """
    root, unpacked = Path(root), Path(unpack_dir) / split.inside
    tree, archive = _tree(split, root), _archive(split, root)
    if tree and not (archive and tree.resolve().is_relative_to(unpacked.resolve())):
        return tree
    if archive and not unpack_once(archive, unpacked):
        logging.info(f"{archive[0]}: was unpacked to {unpacked} before")
    if tree := _tree(split, unpacked):  # the archive may have been deleted since
        return tree
    crawled = root / split.trees[0].split("/")[0] / "txt"  # by ESPnet's voxceleb/spk1
    if _has_speakers(split, crawled):
        return crawled
    raise SVError(
        f"{root}: holds neither {split.title} ({split.trees[0]}/idXXXXX/VIDEO/00001.*)"
        f" nor its archive ({split.stems[0]}.zip or _partaa ...); set {split.variable}"
        " or VOXCELEB in db.sh"
    )


def scan_split(split: Split, tree: Path, nj: int = 8) -> Corpus:
    """List the recordings of a split in ``tree`` with ``nj`` threads."""
    logging.info(f"{tree}: listing the recordings of {split.title}")
    return scan_speakers(tree, nj, wanted=split.owns)


def listed_speakers(split: Split, root: str | os.PathLike) -> list[str]:
    """Return the speakers that a split should have; empty if unknown.

    Those of VoxCeleb2 are read from ``vox2_meta.csv`` if it is in ``root``.
    """
    if split.variable == VOXCELEB1_DEV.variable:
        return [
            name
            for name in (f"id{number}" for number in _VOXCELEB1)
            if split.owns(name)
        ]
    path = Path(root) / "vox2_meta.csv"
    return list(_read_meta(path)) if path.is_file() else []


def _read_meta(path: Path) -> Iterator[str]:
    for line in read_text(path).split("\n"):  # e.g. "id00012 ,n000012 ,m ,dev"
        fields = [field.strip() for field in line.replace("\t", ",").split(",")]
        if _SPEAKER.fullmatch(fields[0]) and "dev" in fields[1:]:
            yield fields[0]


def _tree(split: Split, root: Path) -> Path | None:
    return next(
        (root / tree for tree in split.trees if _has_speakers(split, root / tree)), None
    )


def _has_speakers(split: Split, folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(
                _SPEAKER.fullmatch(e.name) and split.owns(e.name) for e in entries
            )
    except OSError:
        return False


def _archive(split: Split, root: Path) -> list[Path]:
    """Return the archive of a split, whole or in parts; empty if there is none."""
    for folder in (root, root / "dev", root / "test"):
        for stem in split.stems:
            if parts := find_parts(folder, f"{stem}_"):
                return parts
            if (whole := folder / f"{stem}.zip").is_file():
                return [whole]
    return []
