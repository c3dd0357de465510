"""Reading embeddings from Kaldi archives: hundreds of thousands in about a second."""

import struct
from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np

from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.errors import SVError

_FLOAT_VECTOR = (  # Kaldi's binary float vector; an int32 dimension and the data follow
    b"\0BFV \4"
)
_HEADER = len(_FLOAT_VECTOR) + 4


def read_embeddings(
    scp: str | PathLike | Sequence[str | PathLike],
    names: Iterable[str] | None = None,
    wanted_by: str | PathLike = "the list",
) -> tuple[list[str], np.ndarray]:
    """Read embeddings that a Kaldi ``scp`` points to.

    Args:
        scp: File of ``name archive:offset`` lines, or several of them; the first that
            has a name serves it.
        names: Which to read, in which order; all of one file where None.
        wanted_by: Who asks for ``names``, for the message when one is missing.

    Returns:
        The names and the (N, E) float32 embeddings.

    Raises:
        SVError: A name has no embedding, an embedding is unreadable, zero, NaN or Inf,
            or two have different dimensions.
    """
    paths = [scp] if isinstance(scp, str | PathLike) else list(scp)
    title = " ".join(map(str, paths))
    tables = [KaldiTable.read(path) for path in paths]
    names = (
        [n.decode() for n in tables[0].keys().tolist()]
        if names is None
        else list(names)
    )
    if not names:
        raise SVError(f"{title}: is empty; extract the embeddings again")
    specs = _specs(tables, names, title, wanted_by)
    reader = _ArchiveReader(title)
    first = reader.read(names[0], specs[0])
    embeddings = np.empty((len(names), len(first)), np.float32)
    for row, (name, spec) in enumerate(zip(names, specs, strict=True)):
        vector = reader.read(name, spec)
        if len(vector) != len(first):
            raise SVError(
                f"{title}: the embedding of {name} has {len(vector)} dimensions, that"
                f" of {names[0]} has {len(first)}; extract all with one model"
            )
        embeddings[row] = vector
    _check_values(title, names, embeddings)
    return names, embeddings


class _ArchiveReader:
    """Maps each archive into memory once; leaves unusual formats to kaldiio."""

    def __init__(self, scp: str):
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
            raise ValueError(
                f"it is not a vector of floats but {vector.dtype} {vector.shape}"
            )
        return vector

    def _map(self, path: str) -> memoryview:
        if path not in self._archives:
            self._archives[path] = memoryview(np.memmap(path, np.uint8, "r"))
        return self._archives[path]


def _specs(
    tables: list[KaldiTable], names: list[str], title: str, wanted_by: str | PathLike
) -> list[str]:
    """Archive position of each name."""
    keys = np.array([name.encode() for name in names])
    specs: list[str | None] = [None] * len(names)
    for table in reversed(tables):  # so that the first file has the last word
        entries = table.find(keys)
        for row in np.flatnonzero(entries >= 0).tolist():
            specs[row] = table.value(int(entries[row]))
    missing = [name for name, spec in zip(names, specs, strict=True) if spec is None]
    if missing:
        raise SVError(
            f"{title}: has no embedding for {missing[0]}, which {wanted_by} needs "
            f"({len(missing)} of {len(names)} are missing)"
        )
    return specs


def _check_values(scp: str, names: list[str], embeddings: np.ndarray) -> None:
    squares = np.einsum("ij,ij->i", embeddings, embeddings)
    bad = ~(np.isfinite(squares) & (squares > 0))
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if squares[row] == 0 else "NaN or Inf"
        raise SVError(
            f"{scp}: the embedding of {names[row]} is {what} ({int(bad.sum())} such"
            " embeddings); look at its audio and extract it again"
        )
