"""Enrolled speakers in memory, and what changed since they were read from a file."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import locked
from espnet2_sv.inference.speaker_file import (
    COLUMNS,
    SpeakerTable,
    read_speakers,
    write_speakers,
)
from espnet2_sv.inference.speaker_template import SpeakerTemplate, check_name

# Whether a row holds what the file has, or recordings that were enrolled here only, in
# addition to those of other writers or instead of them
_SAVED, _NEW, _REPLACED = range(3)
_LEAST_ROWS = 16  # that the arrays grow by
_GROWTH = 16  # they grow by a 16th


class SpeakerStore:
    """Speakers by name, of whom one matrix product scores all.

    The templates' embeddings are the rows of one float32 matrix; it grows in place.

    Several processes may change one file: :meth:`save` reads it again, applies what
    changed here, and writes the result under a lock.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._row: dict[str, int] = {}
        self._matrix = np.zeros((0, 0), np.float32)
        self._columns: dict[str, np.ndarray] = {
            name: np.zeros(0, kind) for name, kind in COLUMNS.items()
        }
        self._state = np.zeros(0, np.uint8)
        self._added: dict[str, SpeakerTemplate] = {}  # to speakers of the file
        self._removed: set[str] = set()  # from the file
        self._lists: list[str] = []  # keys of lists that were enrolled
        self._origin: tuple[Path, object] | None = None  # the file, and its version

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._row

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> SpeakerTemplate:
        row = self._find(name)
        values = {key: self._columns[key][row].item() for key in COLUMNS}
        return SpeakerTemplate(self._matrix[row].copy(), **values)

    def column(self, name: str) -> np.ndarray:
        """Return an attribute of all templates (N,), e.g. ``seconds``."""
        return self._columns[name][: len(self)].copy()

    def name(self, row: int) -> str:
        """Return the speaker whose score is at an index of :meth:`scores`."""
        return self._names[row]

    @property
    def changed(self) -> bool:
        """Whether anything differs from the file that was last read or written."""
        return bool(self._removed or self._state[: len(self)].any() or self._added)

    def scores(self, embedding: np.ndarray) -> np.ndarray:
        """Return the cosines (N,) with an embedding (E,) of unit length.

        Raises:
            SVError: Its dimension is another one.
        """
        if len(self) and embedding.shape != self._matrix.shape[1:]:
            raise SVError(
                f"the embedding has dimension {len(embedding)}, those of the enrolled"
                f" speakers {self._matrix.shape[1]}; enrol them with this model"
            )
        return self._matrix[: len(self)] @ embedding.astype(np.float32)

    # Changes

    def add(self, name: str, template: SpeakerTemplate, replace: bool = False) -> None:
        """Enrol a speaker, or add recordings to an enrolled one.

        Args:
            name: The speaker.
            template: The new recordings.
            replace: Forget recordings that were enrolled before.

        Raises:
            SVError: The name is impossible, or the dimension is another one.
        """
        check_name(name)
        known = name in self._row
        state = _NEW
        if known and not replace:
            state = int(self._state[self._row[name]])
            if state == _SAVED:
                old = self._added.get(name)
                self._added[name] = template if old is None else old + template
            template = self[name] + template
        elif known or name in self._removed or replace:
            state = _REPLACED
            self._added.pop(name, None)
            self._removed.discard(name)
        self._put(name, template, state)

    def add_list(
        self, key: str, templates: Mapping[str, SpeakerTemplate], replace: bool = False
    ) -> None:
        """Enrol the speakers of a list of recordings, unless the list has been.

        The file remembers the lists that were enrolled last, so a list that is enrolled
        again because a kill left open whether it was is not counted twice.

        Args:
            key: Identifies this enrolment of the list.
            templates: The new recordings by speaker.
            replace: As in :meth:`add`.

        Raises:
            SVError: As :meth:`add`.
        """
        if key in self._lists:
            return
        for name, template in templates.items():
            self.add(name, template, replace)
        self._lists.append(key)

    def remove(self, name: str) -> None:
        """Forget a speaker.

        Raises:
            SVError: There is none of this name.
        """
        row = self._find(name)
        self._removed.add(name)
        self._added.pop(name, None)
        last = len(self) - 1
        moved = self._names[last]
        self._names[row] = moved
        self._row[moved] = row
        arrays: list[np.ndarray] = [self._matrix, self._state, *self._columns.values()]
        for array in arrays:
            array[row] = array[last]
        del self._names[last], self._row[name]

    def _find(self, name: str) -> int:
        if name not in self._row:
            raise SVError(
                f"{printable(name)}: no speaker of this name is enrolled, of"
                f" {len(self)}"
            )
        return self._row[name]

    def _put(self, name: str, template: SpeakerTemplate, state: int) -> None:
        if not len(self):  # of whatever dimension the model has
            self._matrix = np.zeros((0, len(template.embedding)), np.float32)
            self._resize(0)
        if template.embedding.shape != self._matrix.shape[1:]:
            raise SVError(
                f"{printable(name)}: its embedding has dimension"
                f" {len(template.embedding)}, those of the enrolled speakers"
                f" {self._matrix.shape[1]}; enrol all with one model"
            )
        row = self._row.get(name, len(self))
        if row == len(self._state):
            self._resize(row + max(_LEAST_ROWS, row // _GROWTH))
        if row == len(self):
            self._names.append(name)
            self._row[name] = row
        self._matrix[row] = template.embedding
        for key, array in self._columns.items():
            array[row] = getattr(template, key)
        self._state[row] = state

    def _resize(self, rows: int) -> None:
        """Give the arrays another number of rows, without a second copy of them."""
        # no array outside of this class looks into them
        self._matrix.resize((rows, self._matrix.shape[1]), refcheck=False)
        for array in (self._state, *self._columns.values()):
            array.resize(rows, refcheck=False)

    # Files

    def load(self, path: str | os.PathLike, model: str) -> None:
        """Take the speakers of a file, and apply what was changed here to them.

        Args:
            path: A file of :meth:`save`.
            model: The fingerprint of the model.

        Raises:
            SVError: The file is missing, damaged or of another model, or changes of
                another file are not saved; nothing changes.
        """
        path = Path(os.path.abspath(path))
        if self._origin is not None and self._origin[0] != path:
            if self.changed:
                raise SVError(
                    f"{path}: speakers of {self._origin[0]} have changed; save them"
                    " before another store is loaded"
                )
            self._become(SpeakerStore())
        self._become(self._applied_to(path, model))

    def save(self, path: str | os.PathLike, model: str) -> None:
        """Write what was changed here to a file, which others may have changed, too.

        Recordings that others added meanwhile are kept, as are speakers that they
        enrolled. A file that is complete is renamed over the earlier one.

        Args:
            path: The file. If it exists and is not the one that was loaded, all
                speakers are written to it, in place of those of the same names.
            model: The fingerprint of the model.

        Raises:
            SVError: The file is damaged, of another model, or cannot be written.
        """
        path = Path(os.path.abspath(path))
        with locked(path):
            merged = self
            if path.exists() and self._origin != (path, _version(path)):
                merged = self._applied_to(path, model)
            write_speakers(path, merged._table(model))
            merged._origin = (path, _version(path))
        merged._settle()
        self._become(merged)

    def _applied_to(self, path: Path, model: str) -> "SpeakerStore":
        """Return the speakers of a file, changed as they were changed here."""
        merged = SpeakerStore()
        version = _version(path)
        table = read_speakers(path, model)
        merged._names = table.names
        merged._row = {name: row for row, name in enumerate(table.names)}
        merged._matrix, merged._columns = table.embeddings, table.columns
        merged._state = np.zeros(len(table.names), np.uint8)
        merged._origin = (path, version)
        new = [key for key in self._lists if key not in table.lists]
        merged._lists = [*table.lists, *new]
        elsewhere = self._origin is not None and self._origin[0] != path
        for name in () if elsewhere else self._removed:
            if name in merged:
                merged.remove(name)
        for row, name in enumerate(self._names):
            state = int(self._state[row])
            if elsewhere or state != _SAVED:
                merged.add(name, self[name], replace=elsewhere or state == _REPLACED)
        for name, template in () if elsewhere else self._added.items():
            merged.add(name, template)
        return merged

    def _table(self, model: str) -> SpeakerTable:
        rows = slice(len(self))
        columns = {name: array[rows] for name, array in self._columns.items()}
        matrix = self._matrix[rows]
        return SpeakerTable(model, self._names, matrix, columns, self._lists)

    def _settle(self) -> None:
        """Declare that the file has all of this."""
        self._state[:] = _SAVED
        self._added.clear()
        self._removed.clear()

    def _become(self, other: "SpeakerStore") -> None:
        self.__dict__.update(other.__dict__)


def _version(path: Path) -> object:
    """Return what differs once a file has been written anew; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
