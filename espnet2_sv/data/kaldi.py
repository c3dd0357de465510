"""Kaldi's two-column files, large ones as tables and small ones as dictionaries."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

_BLOCK = 1 << 24  # bytes searched at a time, which bounds the masks
_NEWLINE, _RETURN, _SPACE, _TAB = b"\n\r \t"


class KaldiTable:
    """A read-only ``key value`` file (``wav.scp``, ``utt2spk``, ``utt2dur``, ``text``).

    Entry ``i`` is line ``i`` of the file. The text is kept as one byte array with 20
    bytes of offsets per entry, so tables of millions of lines are cheap and are shared
    with data-loading processes without copies.
    """

    def __init__(self, text: bytes, name: str, allow_empty_values: bool = False):
        """Parse ``text``.

        Args:
            text: Content of the file, UTF-8.
            name: Name of the file in messages.
            allow_empty_values: Whether a line may have a key only.

        Raises:
            SVError: An empty line, leading white space, a missing value, a repeated
                key, or text that is not UTF-8; names the line.
        """
        self.name = name
        if text and not text.endswith(b"\n"):
            text += b"\n"
        self._text = np.frombuffer(text, np.uint8)
        if not text.isascii():
            self._require_utf8(text)
        ends = _find(self._text, (_NEWLINE,))
        self._starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)].astype(
            np.int64
        )
        ends = self._strip(ends)
        self._require(ends > self._starts, "is empty; remove the line")
        head = self._text[self._starts]
        self._require(
            (head != _SPACE) & (head != _TAB), "starts with white space; remove it"
        )
        gaps = np.append(_find(self._text, (_SPACE, _TAB)), len(self._text))
        key_ends = np.minimum(gaps[np.searchsorted(gaps, self._starts)], ends)
        if not allow_empty_values:
            self._require(
                key_ends < ends, "has a key but no value; complete or remove the line"
            )
        values = np.minimum(key_ends + 1, ends)
        while (
            again := (values < ends) & np.isin(self._at(values), (_SPACE, _TAB))
        ).any():
            values += again
        self._key_lengths = (key_ends - self._starts).astype(np.int32)
        self._value_offsets = (values - self._starts).astype(np.int32)
        self._lengths = (ends - self._starts).astype(np.int32)
        self._require_unique()

    @classmethod
    def read(
        cls, path: str | os.PathLike, allow_empty_values: bool = False
    ) -> "KaldiTable":
        """Read ``path``; SVError names a missing file or a malformed line."""
        try:
            text = Path(path).read_bytes()
        except OSError as e:
            raise SVError(f"{path}: cannot be read ({e.strerror})") from e
        return cls(text, str(path), allow_empty_values)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, str], name: str) -> "KaldiTable":
        """Make a table from a dictionary, in its order."""
        return cls(
            "".join(f"{k} {v}\n" for k, v in mapping.items()).encode(), name, True
        )

    @classmethod
    def of(
        cls,
        source: "str | os.PathLike | Mapping[str, str] | KaldiTable",
        name: str = "table",
    ) -> "KaldiTable":
        """Make a table from a path, a dictionary, or a table (returned as it is)."""
        if isinstance(source, KaldiTable):
            return source
        return (
            cls.from_dict(source, name)
            if isinstance(source, Mapping)
            else cls.read(source)
        )

    def __len__(self) -> int:
        return len(self._starts)

    def key(self, index: int) -> str:
        """Return the key of entry ``index``."""
        start = self._starts[index]
        return self._text[start : start + self._key_lengths[index]].tobytes().decode()

    def value(self, index: int) -> str:
        """Return the value of entry ``index``, without surrounding white space."""
        start = self._starts[index]
        return (
            self._text[
                start + self._value_offsets[index] : start + self._lengths[index]
            ]
            .tobytes()
            .decode()
        )

    def items(self) -> Iterator[tuple[str, str]]:
        """Return all (key, value) pairs in file order."""
        return ((self.key(i), self.value(i)) for i in range(len(self)))

    def keys(self) -> np.ndarray:
        """Return all keys, UTF-8, as a NumPy bytes array (N,)."""
        return self._gather(self._starts, self._key_lengths)

    def names(self) -> np.ndarray:
        """Return all keys as a NumPy string array (N,)."""
        return np.char.decode(self.keys(), "utf-8") if len(self) else np.zeros(0, str)

    def values(self) -> np.ndarray:
        """Return all values, UTF-8, as a NumPy bytes array (N,); for short values."""
        return self._gather(
            self._starts + self._value_offsets, self._lengths - self._value_offsets
        )

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the entry of each key (bytes (K,)) as int64 (K,); -1 if not found."""
        if not len(self):
            return np.full(len(keys), -1)
        ours, order = self._sorted_keys
        place = np.minimum(np.searchsorted(ours, keys), len(ours) - 1)
        found = ours[place] == keys
        if order is not None:
            place = order[place]
        return np.where(found, place, -1)

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self._text).hexdigest()

    @cached_property
    def first_unsorted(self) -> int | None:
        """First entry whose key sorts before the previous one (C locale), or None."""
        keys = self.keys()
        wrong = keys[1:] < keys[:-1]
        return int(np.argmax(wrong)) + 1 if wrong.any() else None

    @property
    def _sorted_keys(self) -> tuple[np.ndarray, np.ndarray | None]:
        keys = self.keys()
        if self.first_unsorted is None:
            return keys, None
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    def _at(self, positions: np.ndarray) -> np.ndarray:
        return self._text[np.minimum(positions, len(self._text) - 1)]

    def _strip(self, ends: np.ndarray) -> np.ndarray:
        blank = (_SPACE, _TAB, _RETURN)
        while (
            again := (ends > self._starts) & np.isin(self._text[ends - 1], blank)
        ).any():
            ends = ends - again
        return ends

    def _gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        width = max(int(lengths.max(initial=1)), 1)
        columns = np.arange(width)
        out = np.zeros((len(starts), width), np.uint8)
        step = max(_BLOCK // (8 * width), 1)
        for i in range(0, len(starts), step):
            block = slice(i, i + step)
            inside = columns < lengths[block, None]
            out[block] = self._at(starts[block, None] + columns) * inside
        return out.view(f"S{width}").ravel()

    def _require(self, good: np.ndarray, problem: str) -> None:
        if not good.all():
            raise SVError(f"{self.name}: line {int(np.argmin(good)) + 1} {problem}")

    def _require_unique(self) -> None:
        keys, _ = self._sorted_keys
        same = keys[1:] == keys[:-1]
        if same.any():
            key = keys[int(np.argmax(same))].decode()
            raise SVError(
                f"{self.name}: key {key} appears more than once ({int(same.sum())}"
                " repeated keys in all); keep one line per key"
            )

    def _require_utf8(self, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError as e:
            line = text.count(b"\n", 0, e.start) + 1
            raise SVError(
                f"{self.name}: line {line} is not UTF-8; convert the file"
            ) from e


def read_two_column(
    path: str | os.PathLike, allow_empty_values: bool = False
) -> dict[str, str]:
    """Read ``key value`` lines in file order.

    Raises:
        SVError: A missing file, an empty line, a key without value, a repeated key.
    """
    return dict(KaldiTable.read(path, allow_empty_values).items())


def write_two_column(path: str | os.PathLike, mapping: Mapping[str, str]) -> None:
    """Write ``key value`` lines sorted in byte (C locale) order, as Kaldi requires."""
    with atomic_write(path) as f:
        f.writelines(f"{key} {mapping[key]}".rstrip() + "\n" for key in sorted(mapping))


def read_spk2utt(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read ``speaker utt1 utt2 ...`` lines; SVError if an utterance is in two."""
    spk2utt = {speaker: utts.split() for speaker, utts in read_two_column(path).items()}
    try:
        spk2utt_to_utt2spk(spk2utt)
    except SVError as e:
        raise SVError(f"{path}: {e}") from e
    return spk2utt


def write_spk2utt(
    path: str | os.PathLike, spk2utt: Mapping[str, Iterable[str]]
) -> None:
    """Write ``speaker utt1 utt2 ...`` lines, speakers and utterances sorted."""
    write_two_column(
        path, {spk: " ".join(sorted(utts)) for spk, utts in spk2utt.items()}
    )


def spk2utt_to_utt2spk(spk2utt: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Invert the map; SVError if an utterance is listed twice."""
    utt2spk: dict[str, str] = {}
    for speaker, utts in spk2utt.items():
        for utt in utts:
            if utt in utt2spk:
                raise SVError(
                    f"utterance {utt} is listed for speaker {utt2spk[utt]} and again"
                    f" for {speaker}; list it once"
                )
            utt2spk[utt] = speaker
    return utt2spk


def _find(text: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """Return the positions of the wanted bytes, ascending, int64."""
    found = [np.zeros(0, np.int64)]
    for start in range(0, len(text), _BLOCK):
        block = text[start : start + _BLOCK]
        mask = block == wanted[0]
        for byte in wanted[1:]:
            mask |= block == byte
        found.append(np.flatnonzero(mask) + start)
    return np.concatenate(found)
