"""Lists of noises (MUSAN) and room impulse responses (RIRS_NOISES)."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet2_sv.data.corpora.archives import unpack_once
from espnet2_sv.data.corpora.corpus import require_complete
from espnet2_sv.data.kaldi import write_two_column
from espnet2_sv.errors import SVError

MUSAN_KINDS = {"music": 660, "noise": 930, "speech": 426}  # published files of each
# Published files of simulated rooms: 200 rooms of each size with 100 responses of one
# channel. The real responses have up to eight channels, recorded with far-field arrays,
# and are not used.
RIR_ROOMS = {"small": 20_000, "medium": 20_000, "large": 20_000}


def prepare_noises(
    musan: str | os.PathLike,
    rirs: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    rooms: Sequence[str] = ("small", "medium"),
    unpack_dir: str | os.PathLike = "downloads",
    allow_incomplete: bool = False,
) -> dict[str, int]:
    """Write ``musan_{music,noise,speech}.scp`` and ``rirs.scp``.

    Args:
        musan: The folder ``musan`` or its archive, or a folder that contains either.
        rirs: The folder ``RIRS_NOISES`` or its archive, or a folder that contains
            either.
        output_dir: Output folder.
        rooms: Room sizes of :data:`RIR_ROOMS`; small and medium are usual for VoxCeleb,
            whose speakers are close to the microphone.
        unpack_dir: Folder to unpack archives into.
        allow_incomplete: Continue if the number of files is not as published.

    Returns:
        Number of files in each list, by file name.

    Raises:
        SVError: A corpus is missing or incomplete, or two files have the same name.
    """
    if unknown := [room for room in rooms if room not in RIR_ROOMS]:
        raise SVError(f"rooms {unknown[0]}: choose from {' '.join(RIR_ROOMS)}")
    root = _find(musan, unpack_dir, "musan", "noise", ("musan.tar.gz",), "MUSAN")
    lists = {}
    differences: list[str] = []
    for kind, published in MUSAN_KINDS.items():
        files = _wavs(root / kind)
        _compare(f"{root / kind}", len(files), published, differences)
        lists[f"musan_{kind}.scp"] = _by_name((file.stem, file) for file in files)
    root = _find(
        rirs,
        unpack_dir,
        "RIRS_NOISES",
        "simulated_rirs",
        ("rirs_noises.zip",),
        "RIRS or RIR",
    )
    entries: list[tuple[str, Path]] = []
    for room in rooms:
        files = _wavs(folder := root / "simulated_rirs" / f"{room}room")
        _compare(f"{folder}", len(files), RIR_ROOMS[room], differences)
        # file names are the same for all room sizes
        entries += [(f"{room}-{file.stem}", file) for file in files]
    lists["rirs.scp"] = _by_name(entries)
    require_complete(differences, allow_incomplete)
    for name, entries_of in lists.items():
        write_two_column(Path(output_dir) / name, entries_of)
    return {name: len(entries_of) for name, entries_of in lists.items()}


def _find(
    given: str | os.PathLike,
    unpack_dir: str | os.PathLike,
    name: str,
    inner: str,
    archives: Sequence[str],
    variable: str,
) -> Path:
    """Return the folder ``name`` that contains ``inner``, unpacked if needed."""
    given, unpack_dir = Path(given), Path(unpack_dir)
    for folder in (given, given / name):
        if (folder / inner).is_dir():
            return folder
    for archive in [given, *(given / archive for archive in archives)]:
        if archive.is_file():
            unpack_once([archive], unpack_dir)
    if (unpack_dir / name / inner).is_dir():
        return unpack_dir / name
    raise SVError(
        f"{given}: holds neither {name}/{inner} nor {' or '.join(archives)}; set"
        f" {variable} in db.sh"
    )


def _wavs(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*.wav") if not p.name.startswith("."))
    if not files:
        raise SVError(f"{folder}: has no wav files; unpack the corpus again")
    return files


def _by_name(entries: Iterable[tuple[str, Path]]) -> dict[str, str]:
    files: dict[str, str] = {}
    for name, file in entries:
        if name in files:
            raise SVError(f"{file}: has the same name as {files[name]}; remove one")
        files[name] = str(file)
    return files


def _compare(what: str, found: int, published: int, differences: list[str]) -> None:
    if found != published:
        differences.append(f"{what}: {found:,} files of {published:,} published")
