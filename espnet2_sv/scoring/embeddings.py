"""Reading embeddings from Kaldi archives: hundreds of thousands in about a second."""

import struct
from collections.abc import Iterable
from os import PathLike

import numpy as np

from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError

_FLOAT_VECTOR = b"\0BFV \4"  # Kaldi's binary float vector; an int32 dimension and the data follow
_HEADER = len(_FLOAT_VECTOR) + 4


def read_embeddings(
    scp: str | PathLike, names: Iterable[str] | None = None, wanted_by: str | PathLike = "the list"
) -> tuple[list[str], np.ndarray]:
    """Read embeddings that a Kaldi ``scp`` points to.

    Args:
        scp: ``name archive:offset`` lines.
        names: Which to read, in which order; all where None.
        wanted_by: Who asks for ``names``, for the message when one is missing.

    Returns:
        The names and the (N, E) float32 embeddings.

    Raises:
        SVError: A name has no embedding, an embedding is unreadable, zero, NaN or Inf, or two
            have different dimensions.
    """
    table = KaldiTable.read(scp)
    if not len(table):
        raise SVError(f"{scp}: is empty; extract the embeddings again")
    if names is None:
        names, entries = [name.decode() for name in table.keys().tolist()], range(len(table))
    else:
        names = list(names)
        entries = _find(table, names, scp, wanted_by)
    reader = _ArchiveReader(scp)
    first = reader.read(names[0], table.value(int(entries[0])))
    embeddings = np.empty((len(names), len(first)), np.float32)
    for row, (name, entry) in enumerate(zip(names, entries, strict=True)):
        vector = reader.read(name, table.value(int(entry)))
        if len(vector) != len(first):
            raise SVError(
                f"{scp}: the embedding of {name} has {len(vector)} dimensions, that of "
                f"{names[0]} has {len(first)}; extract all with one model"
            )
        embeddings[row] = vector
    _check_values(scp, names, embeddings)
    return names, embeddings


class _ArchiveReader:
    """Maps each archive into memory once; leaves unusual formats to kaldiio."""

    def __init__(self, scp: str | PathLike):
        self.scp = scp
        self._archives: dict[str, np.ndarray] = {}

    def read(self, name: str, spec: str) -> np.ndarray:
        """The vector (E,) of an archive position, or an SVError that names the utterance."""
        try:
            return self._read(spec)
        except (OSError, ValueError, TypeError, struct.error) as e:
            reason = str(e).splitlines()[0] if str(e) else type(e).__name__
            raise SVError(
                f"{self.scp}: the embedding of {name} ({spec}) cannot be read: {reason}"
            ) from e

    def _read(self, spec: str) -> np.ndarray:
        path, _, offset = spec.rpartition(":")
        if path and offset.isdigit():
            archive, start = self._map(path), int(offset)
            if archive[start : start + len(_FLOAT_VECTOR)] == _FLOAT_VECTOR:
                data = start + _HEADER
                (dim,) = struct.unpack("<i", archive[data - 4 : data])
                return np.frombuffer(archive, "<f4", dim, data)
        import kaldiio

        vector = np.asarray(kaldiio.load_mat(spec))
        if vector.ndim != 1 or vector.dtype.kind != "f":
            raise ValueError(f"it is not a vector of floats but {vector.dtype} {vector.shape}")
        return vector

    def _map(self, path: str) -> memoryview:
        if path not in self._archives:
            self._archives[path] = memoryview(np.memmap(path, np.uint8, "r"))
        return self._archives[path]


def _find(
    table: KaldiTable, names: list[str], scp: str | PathLike, wanted_by: str | PathLike
) -> np.ndarray:
    entries = table.find(np.array([name.encode() for name in names]))
    missing = np.flatnonzero(entries < 0)
    if len(missing):
        raise SVError(
            f"{scp}: has no embedding for {names[missing[0]]}, which {wanted_by} needs"
            f" ({len(missing)} of {len(names)} are missing)"
        )
    return entries


def _check_values(scp: str | PathLike, names: list[str], embeddings: np.ndarray) -> None:
    squares = np.einsum("ij,ij->i", embeddings, embeddings)
    bad = ~(np.isfinite(squares) & (squares > 0))
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if squares[row] == 0 else "NaN or Inf"
        raise SVError(
            f"{scp}: the embedding of {names[row]} is {what} ({int(bad.sum())} such embeddings); "
            "look at its audio and extract it again"
        )
