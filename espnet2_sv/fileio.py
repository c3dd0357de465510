"""Writing files so that a killed process leaves either the old file or the new one."""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from espnet2_sv.errors import SVError


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a temporary neighbour of ``path`` and rename it to ``path`` on success.

    Args:
        path: The file to write; its folder is made if it is missing.
        mode: ``"w"`` (UTF-8 text) or ``"wb"``.

    Raises:
        SVError: The folder cannot be made or written to.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(part, mode, encoding=None if "b" in mode else "utf-8")  # noqa: SIM115
    except OSError as e:
        raise SVError(
            f"{path}: cannot be written ({e.strerror}); choose another folder"
        ) from e
    try:
        with stream:
            yield stream
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Make a folder and see that files can be written to it.

    Raises:
        SVError: They cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise SVError(
            f"{folder}: cannot be written to ({e.strerror}); choose another folder"
        ) from e


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
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Be the only process that makes ``path``; wait for another one that does.

    The lock is the file ``.NAME.lock`` beside it, and ends with the process that holds
    it.

    Args:
        path: A file or folder, which need not be there.

    Raises:
        SVError: Nothing can be written beside it.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _lock(lock, path)
    except OSError as e:
        raise SVError(
            f"{path}: cannot be written ({e.strerror}); choose another folder"
        ) from e
    with stream:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _lock(lock: Path, path: Path) -> IO:
    while True:
        stream = open(lock, "a")  # noqa: SIM115
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.info(f"waiting for another run, which is making {path}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: as if alone
            return stream
        # its last holder may have removed it
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                return stream
        stream.close()
