"""Files that are complete or absent, and locks that runs on one output share.

What is being written has a temporary name, ``.NAME.TOKEN.part`` beside its place, and
is locked while its writer lives: no two writers share a name, and what a killed one
left behind is removed by the next, on whatever host it ran.
"""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import yaml

from espnet2_sv.errors import SVError, printable
from espnet2_sv.textfile import read_text

# Errors of a write that say more about the file system than about the file
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_LONGEST_NAME = 200  # of at most 255 bytes, so that a temporary name has room


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file that is renamed to ``path`` on success.

    Args:
        path: The file to write; its folder is made if it is missing. A link is
            replaced, not followed.
        mode: ``"w"`` (UTF-8 text) or ``"wb"``.

    Raises:
        SVError: The file cannot be written, or the disk is full; the file that was
            there stays.
    """
    path = Path(path)
    with _writing(path), _temporary_file(path) as (descriptor, part):
        encoding = None if "b" in mode else "utf-8"
        with open(descriptor, mode, encoding=encoding, closefd=False) as stream:
            yield stream
        os.replace(part, path)


@contextmanager
def fresh_folder(outdir: str | os.PathLike, replace: bool = False) -> Iterator[Path]:
    """Fill a temporary folder that is renamed to ``outdir`` on success.

    Args:
        outdir: The folder to make.
        replace: Replace an existing folder, once the new one is complete.

    Raises:
        SVError: ``outdir`` holds something already, or cannot be made.
    """
    outdir = Path(os.path.abspath(outdir))
    with _writing(outdir), _temporary_folder(outdir) as part:
        yield part
        old = _temporary_name(outdir)
        if replace:
            os.rename(outdir, old)
        try:
            os.rename(part, outdir)
        finally:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Report errors of the file system, or of a name, in one line with the output."""
    try:
        yield
    except UnicodeEncodeError as e:  # e.g. of a file whose name is not UTF-8
        name = e.object[max(e.start - 40, 0) : e.end + 40]
        raise SVError(
            f"{path}: cannot be written, {name!a} is not UTF-8; rename it"
        ) from e
    except OSError as e:
        of_storage = e.filename is None and e.errno in STORAGE_ERRORS
        if not of_storage and not _is_about(e, path):
            raise
        advice = "choose another folder"
        if e.errno in STORAGE_ERRORS:
            advice = "free some space there"
        raise SVError(f"{path}: cannot be written ({e.strerror}); {advice}") from e


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error concerns a path, its temporary name or its folder."""
    names = [error.filename, error.filename2]
    places = [Path(os.fsdecode(n)) for n in names if isinstance(n, str | bytes)]
    ours = f".{path.name[:20]}"
    return any(
        place in (path, *path.parents)
        or (place.parent == path.parent and place.name.startswith(ours))
        for place in places
    )


def _temporary_name(path: Path) -> Path:
    short = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
    return path.with_name(f".{short}.{secrets.token_hex(4)}.part")


@contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[int, Path]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        part = _temporary_name(path)
        descriptor = os.open(part, flags, 0o666)
        if _lock_own(descriptor, part):
            break
        os.close(descriptor)
    try:
        yield descriptor, part
    finally:
        part.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    while True:
        part = _temporary_name(path)
        part.mkdir()
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not part.parent.exists():
                raise
            continue  # another run swept it before it was open
        if _lock_own(descriptor, part):
            break
        os.close(descriptor)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(descriptor)


def _lock_own(descriptor: int, part: Path) -> bool:
    """Lock a new temporary file or folder; False if another run sweeps it first."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(part))
    return False


def _sweep(path: Path) -> None:
    """Remove temporary files and folders whose writers are gone."""
    pattern = f".{glob.escape(path.name)}.*.part"
    for remains in path.parent.glob(pattern):
        with suppress(OSError):
            descriptor = os.open(remains, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if remains.is_dir():
                    shutil.rmtree(remains, ignore_errors=True)
                else:
                    remains.unlink()
            finally:
                os.close(descriptor)


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Make a folder and check that files can be written to it.

    Raises:
        SVError: They cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x")
            stream.flush()
    except OSError as e:
        raise SVError(
            f"{folder}: cannot be written to ({e.strerror}); choose another folder"
        ) from e


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file, which is untrusted.

    Raises:
        SVError: The file cannot be read or is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise SVError(f"{path}: is not JSON; make it again") from e


def read_yaml(path: str | os.PathLike) -> Any:
    """Read a YAML file of plain data, which is untrusted.

    Raises:
        SVError: The file cannot be read or is not YAML.
    """
    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except MemoryError:
        raise
    except Exception as e:  # constructors of YAML's types raise all kinds of errors
        reason = printable(" ".join(str(e).split()), 200)
        raise SVError(f"{path}: is not YAML of plain data ({reason})") from e


def json_number(value: Any) -> float:
    """Return a number of a JSON file.

    Raises:
        ValueError: It is something else, NaN, infinite, or too large for a double.
    """
    if type(value) not in (int, float):
        raise ValueError("is not a number")
    try:
        number = float(value)
    except OverflowError as e:
        raise ValueError("is too large") from e
    if not math.isfinite(number):
        raise ValueError("is not finite")
    return number


class Stamp:
    """Notes what finished outputs were made from, so that they need not be made again.

    Args:
        path: The file that holds the note.
        made_from: Text that differs where the outputs may differ.
        outputs: Files that must exist.
    """

    def __init__(self, path: Path, made_from: str, outputs: Iterable[Path]):
        self.path = path
        self.key = hashlib.sha256(made_from.encode()).hexdigest()
        self.outputs = list(outputs)

    def read(self) -> dict[str, Any] | None:
        """Return what was noted beside; None unless the outputs are current."""
        try:
            note = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        current = isinstance(note, dict) and note.get("key") == self.key
        return note if current and all(p.exists() for p in self.outputs) else None

    def write(self, **facts: Any) -> None:
        """Declare the outputs finished, and note facts about them."""
        with atomic_write(self.path) as stream:
            json.dump({"key": self.key, **facts}, stream)

    def remove(self) -> None:
        """Declare the outputs unfinished."""
        self.path.unlink(missing_ok=True)


@contextmanager
def locked(
    path: str | os.PathLike, shared: bool = False, wait: bool = True
) -> Iterator[None]:
    """Be the only process that makes ``path``, waiting for any other one.

    The lock is the file ``.NAME.lock`` beside it, and ends with the process that holds
    it. Where the file system has no locks, a warning says so.

    Args:
        path: A file or folder, which need not exist.
        shared: Allow other processes that share.
        wait: Wait for other processes; otherwise refuse.

    Raises:
        SVError: Nothing can be written beside it, or another process makes ``path``
            and is not to be waited for.
    """
    path = Path(os.path.abspath(path))
    lock = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(_lock(lock, path, shared, wait))
        try:
            yield
        finally:
            if not shared:
                lock.unlink(missing_ok=True)
            stream.close()


def _lock(lock: Path, path: Path, shared: bool, wait: bool) -> IO:
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        stream = open(lock, "ab")  # noqa: SIM115
        try:
            fcntl.flock(stream, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                stream.close()
                raise SVError(
                    f"{path}: is being made by another run; wait for it"
                ) from None
            logging.info(f"waiting for another run, which is making {path}")
            fcntl.flock(stream, operation)
        except OSError:
            logging.warning(
                f"{lock}: this file system has no locks; do not run two things at once"
                " on one output"
            )
            return stream
        # its last holder may have removed it
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                return stream
        stream.close()
