"""Unpack a corpus: archives of up to a million files, whole or split into parts."""

import functools
import gzip
import io
import logging
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write, require_writable

_TAR_SUFFIXES = (".tar.gz", ".tgz")
_BLOCK = 4096  # bytes; the disk usage of a file is a multiple of it
_BUFFER = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    ValueError,
)
# suffixes of split(1), e.g. "aa" in vox2_dev_aac_partaa
_PART = re.compile(r".*part(?P<letters>[a-z]{2})")


class _Member(NamedTuple):
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack_once(
    archive: Sequence[str | os.PathLike], outdir: str | os.PathLike
) -> bool:
    """Unpack a zip or tar.gz archive into a folder, unless that has been done.

    Files get their names when they are complete, so a repeated call after an
    interruption continues after them. A marker file, written last, records that the
    archive has been unpacked.

    Args:
        archive: The file, or its parts in order; they are joined while reading.
        outdir: Output folder; it may contain other files.

    Returns:
        Whether anything was unpacked.

    Raises:
        SVError: The archive is damaged or incomplete, the disk is too small, or a name
            in the archive points outside ``outdir``.
    """
    paths, outdir = [Path(path) for path in archive], Path(outdir)
    note = outdir / f".{paths[0].name}.unpacked"
    key = "".join(f"{path.name} {path.stat().st_size}\n" for path in paths)
    if note.exists() and note.read_text(encoding="utf-8") == key:
        return False
    require_writable(outdir)
    whole = paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1].name[-6:]}"
    logging.info(f"unpacking {whole} into {outdir}")
    try:
        with io.BufferedReader(JoinedFile(paths), _BUFFER) as stream:
            is_tar = paths[0].name.endswith(_TAR_SUFFIXES)
            members = (
                _tar_members(stream) if is_tar else _zip_members(stream, outdir, whole)
            )
            for number, member in enumerate(members, 1):
                _write(member, outdir / _safe(member.name, whole))
                if number % 50_000 == 0:
                    logging.info(f"{whole}: {number} files")
    except _DAMAGED as e:
        raise SVError(
            f"{whole}: is damaged or incomplete ({e}), perhaps truncated; fetch"
            " it again"
        ) from e
    with atomic_write(note) as f:
        f.write(key)
    return True


def _zip_members(stream: IO[bytes], outdir: Path, whole: object) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise SVError(
                    f"{whole}: refused, {member.filename!r} is a link, not a file"
                )
        _require_space(members, outdir, whole)
        for member in members:
            yield _Member(
                member.filename,
                member.file_size,
                functools.partial(archive.open, member),
            )


def _tar_members(stream: IO[bytes]) -> Iterator[_Member]:
    # decompressed here, because tarfile's own streams accept a truncated file
    with (
        gzip.GzipFile(fileobj=stream) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        for member in archive:
            if member.isfile():
                yield _Member(
                    member.name,
                    member.size,
                    functools.partial(_open_tar_member, archive, member),
                )


def _open_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a file
    return stream


def _require_space(members: list[zipfile.ZipInfo], outdir: Path, whole: object) -> None:
    """Raise SVError if the disk has too little space for the files still to unpack."""
    needed = 0
    for member in members:
        path = outdir / _safe(member.filename, whole)
        if not _is_there(path, member.file_size):
            needed += -(-member.file_size // _BLOCK) * _BLOCK
    free = shutil.disk_usage(outdir).free
    if needed > free:
        raise SVError(
            f"{outdir}: {whole} needs {needed / 2**30:.1f} GiB more, {free / 2**30:.1f}"
            " GiB are free; make room or choose another folder"
        )


def _safe(name: str, whole: object) -> str:
    """Return a name if it stays in its folder (``wav/x.wav``, not ``../x.wav``)."""
    path = PurePosixPath(name)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or "\0" in name
        or "\\" in name
    ):
        raise SVError(f"{whole}: refused, {name!r} points outside the folder")
    return str(path)


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _write(member: _Member, path: Path) -> None:
    if _is_there(path, member.size):
        return
    try:
        with member.open() as source, atomic_write(path, "wb") as target:
            shutil.copyfileobj(source, target, _BUFFER)
    except OSError as e:
        raise SVError(
            f"{path}: cannot be written ({e.strerror}); is the disk full?"
        ) from e


def find_parts(folder: str | os.PathLike, stem: str) -> list[Path]:
    """Find ``STEMpartaa``, ``STEMpartab``, ... in a folder, in order.

    Returns:
        The parts; empty if there are none.

    Raises:
        SVError: A part before the last is missing or truncated. (A missing last part
            is noticed when the archive is read.)
    """
    parts = sorted(
        p for p in Path(folder).glob(f"{stem}part*") if _PART.fullmatch(p.name)
    )
    for number, part in enumerate(parts):
        expected = f"{stem}part{chr(97 + number // 26)}{chr(97 + number % 26)}"
        if part.name != expected:
            raise SVError(f"{part.with_name(expected)}: is missing; fetch it")
    sizes = [part.stat().st_size for part in parts]
    whole = max(sizes, default=0)
    for part, size in zip(parts[:-1], sizes[:-1], strict=True):
        if size != whole:
            raise SVError(
                f"{part}: is truncated, it has {size} bytes, the largest part"
                f" {whole}; fetch it again"
            )
    return parts


class JoinedFile(io.RawIOBase):
    """Several files as one seekable file."""

    def __init__(self, paths: Sequence[str | os.PathLike]):
        """Open ``paths``, in order."""
        # closed in close()
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115
        sizes = [os.fstat(f.fileno()).st_size for f in self._files]
        self._starts = [0, *accumulate(sizes)]
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Return the position in the joined file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the joined file."""
        origins = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self._starts[-1],
        }
        if (position := origins[whence] + offset) < 0:
            raise OSError("negative seek position")
        self._position = position
        return position

    def readinto(self, buffer) -> int:
        """Read at most to the end of the current part; 0 bytes at the very end."""
        if self._position >= self._starts[-1]:
            return 0
        index = bisect_right(self._starts, self._position) - 1
        left = self._starts[index + 1] - self._position
        file = self._files[index]
        file.seek(self._position - self._starts[index])
        count = file.readinto(memoryview(buffer)[:left])
        self._position += count
        return count

    def close(self) -> None:
        """Close all parts."""
        for file in self._files:
            file.close()
        super().close()
