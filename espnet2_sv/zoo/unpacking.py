"""Unpacking zip archives, which are untrusted."""

import contextlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import STORAGE_ERRORS, fresh_folder

# The largest published ESPnet models are below 10 GiB and hold fewer than 100 files.
MAX_ARCHIVE_BYTES = 32 * 2**30
MAX_ARCHIVE_FILES = 10_000
# Weights hardly compress; a large file with such a ratio is meant to fill the disk.
MAX_COMPRESSION = 100
COMPRESSION_CHECKED_FROM = 64 * 2**20  # bytes; small text may compress well
_LONGEST_PART = 255  # bytes of a file name on Linux
_LONGEST_PATH = 4095


def unpack(zip_path: str | os.PathLike, outdir: str | os.PathLike) -> None:
    """Unpack an archive completely or not at all.

    Args:
        zip_path: The archive.
        outdir: The folder to make; it must not exist, or be empty.

    Raises:
        SVError: The archive is damaged or too large, or one of its names leads
            elsewhere. Nothing is left at ``outdir`` then.
    """
    outdir = Path(outdir)
    with (
        fresh_folder(outdir) as part,
        _reading(zip_path),
        zipfile.ZipFile(zip_path) as archive,
    ):
        members = archive.infolist()
        _check_sizes(zip_path, members, free=shutil.disk_usage(part).free)
        names = [_safe_name(zip_path, member) for member in members]
        if len(set(names)) != len(names):
            raise SVError(f"{zip_path}: refused, it holds two files with one name")
        for member, name in zip(members, names, strict=True):
            _write(archive, member, part / name)


@contextlib.contextmanager
def _reading(zip_path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as e:
        raise SVError(f"{zip_path}: no such file") from e
    except (SVError, MemoryError):
        raise
    except OSError as e:
        if e.errno in STORAGE_ERRORS:
            raise
        raise SVError(f"{zip_path}: cannot be unpacked ({e.strerror})") from e
    except Exception as e:  # zipfile and its decompressors raise all kinds of errors
        raise SVError(
            f"{zip_path}: not a zip archive, or damaged; fetch it again"
        ) from e


def _check_sizes(
    zip_path: str | os.PathLike, members: list[zipfile.ZipInfo], free: int
) -> None:
    total = sum(member.file_size for member in members)
    if total > MAX_ARCHIVE_BYTES or len(members) > MAX_ARCHIVE_FILES:
        raise SVError(
            f"{zip_path}: refused, its {len(members)} files unpack to {total} bytes "
            f"(limits: {MAX_ARCHIVE_FILES} files, {MAX_ARCHIVE_BYTES} bytes)"
        )
    stored = os.stat(zip_path).st_size
    if total > COMPRESSION_CHECKED_FROM and total > MAX_COMPRESSION * stored:
        raise SVError(
            f"{zip_path}: refused, its {stored} bytes unpack to {total} bytes"
        )
    for member in members:
        grows = member.file_size > MAX_COMPRESSION * max(member.compress_size, 1)
        if grows and member.file_size > COMPRESSION_CHECKED_FROM:
            raise SVError(
                f"{zip_path}: refused, {member.filename!r} grows from"
                f" {member.compress_size} to {member.file_size} bytes"
            )
    if total > free:
        raise SVError(f"{zip_path}: needs {total} bytes of disk, {free} are free")


def _safe_name(zip_path: str | os.PathLike, member: zipfile.ZipInfo) -> str:
    """Return the member's name if it stays inside the folder it is unpacked to."""
    # as stored; ZipInfo.filename has already been cut at a NUL character
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise SVError(
            f"{zip_path}: refused, {name!r} is a link or a device, not a file"
        )
    if member.flag_bits & 0x1:
        raise SVError(f"{zip_path}: refused, {name!r} is encrypted")
    if "\\" in name or "\0" in name or not is_inside(name):
        raise SVError(f"{zip_path}: refused, {name!r} leads out of the archive")
    return str(PurePosixPath(name))


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder: ``exp/x.pth``, not ``../x.pth``."""
    path = PurePosixPath(name)
    drive = len(name) > 1 and name[1] == ":"  # e.g. C:/x.pth
    possible = "\0" not in name and len(os.fsencode(name)) <= _LONGEST_PATH
    return (
        possible
        and all(len(os.fsencode(part)) <= _LONGEST_PART for part in path.parts)
        and bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and not drive
    )


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, open(path, "xb") as target:
        shutil.copyfileobj(source, target, 2**20)
