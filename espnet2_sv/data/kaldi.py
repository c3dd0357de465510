"""Kaldi's two-column files, large ones as tables and small ones as dictionaries."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import atomic_write
from espnet2_sv.textfile import decode, read_bytes

MAX_KEY_BYTES = 1000  # of an utterance or speaker id; a file's name has at most 255
_BLOCK = 1 << 24  # bytes searched at a time, which bounds the masks
_MAX_PADDING = 4  # bytes of a padded array per byte of an array of Python objects
_OBJECT = 50  # bytes that a Python bytes object takes beside its text
_SMALL = 1 << 20  # bytes that a padded array may take in any case
_BLANK_PASSES = 16  # blanks skipped in all lines at a time; few lines have more
# Control characters, and first bytes of white space beyond ASCII and of U+FEFF in UTF-8
_SUSPECT = (*range(9), *range(11, 32), 127, 0xC2, 0xE1, 0xE2, 0xE3, 0xEF)
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
                key, a key that is too long or has characters that cannot be seen, a NUL
                or text that is not UTF-8; names the line.
        """
        self.name = name
        if text and not text.endswith(b"\n"):
            text += b"\n"
        self._text = np.frombuffer(text, np.uint8)
        if not text.isascii():
            decode(text, name)
        ends = _find(self._text, (_NEWLINE,))
        self._starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)].astype(
            np.int64
        )
        self._require_no_nul(text)
        ends = self._strip(ends)
        self._require(ends > self._starts, "is empty; remove the line")
        head = self._text[self._starts]
        self._require(
            (head != _SPACE) & (head != _TAB), "starts with white space; remove it"
        )
        gaps = np.append(_find(self._text, (_SPACE, _TAB)), len(self._text))
        key_ends = np.minimum(gaps[np.searchsorted(gaps, self._starts)], ends)
        self._require(
            key_ends - self._starts <= MAX_KEY_BYTES,
            f"has a key of more than {MAX_KEY_BYTES} bytes; shorten it",
        )
        if not allow_empty_values:
            self._require(
                key_ends < ends, "has a key but no value; complete or remove the line"
            )
        values = self._skip_blanks(np.minimum(key_ends + 1, ends), ends)
        self._key_lengths = (key_ends - self._starts).astype(np.int32)
        self._value_offsets = (values - self._starts).astype(np.int32)
        self._lengths = (ends - self._starts).astype(np.int32)
        self._require_visible_keys()
        self._require_unique()

    @classmethod
    def read(
        cls, path: str | os.PathLike, allow_empty_values: bool = False
    ) -> "KaldiTable":
        """Read ``path``; SVError names a missing file or a malformed line."""
        return cls(read_bytes(path), str(path), allow_empty_values)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, str], name: str) -> "KaldiTable":
        """Make a table from a dictionary, in its order; SVError names a bad key."""
        lines = [_line(key, value, name) for key, value in mapping.items()]
        return cls("".join(lines).encode(), name, True)

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
        """Return all keys, UTF-8, as a NumPy array of bytes (N,)."""
        return self._gather(self._starts, self._key_lengths)

    def names(self) -> np.ndarray:
        """Return all keys as a NumPy array of strings (N,)."""
        keys = self.keys()
        if keys.dtype == object:
            return np.array([key.decode() for key in keys], object)
        return np.char.decode(keys, "utf-8") if len(self) else np.zeros(0, str)

    def values(self) -> np.ndarray:
        """Return all values, UTF-8, as a NumPy array of bytes (N,)."""
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
        """Return the ends (N,) of the lines without white space."""
        blank = (_SPACE, _TAB, _RETURN)
        for _ in range(_BLANK_PASSES):
            again = (ends > self._starts) & np.isin(self._text[ends - 1], blank)
            if not again.any():
                return ends
            ends = ends - again
        for i in np.flatnonzero(again).tolist():
            line = self._text[self._starts[i] : ends[i]].tobytes()
            ends[i] = self._starts[i] + len(line.rstrip(b" \t\r"))
        return ends

    def _skip_blanks(self, values: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the starts (N,) of the values without white space."""
        for _ in range(_BLANK_PASSES):
            again = (values < ends) & np.isin(self._at(values), (_SPACE, _TAB))
            if not again.any():
                return values
            values = values + again
        for i in np.flatnonzero(again).tolist():
            value = self._text[values[i] : ends[i]].tobytes()
            values[i] = ends[i] - len(value.lstrip(b" \t"))
        return values

    def _gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Copy sections of the text; one long section does not lengthen the others."""
        width = max(int(lengths.max(initial=1)), 1)
        unpadded = int(lengths.sum()) + _OBJECT * len(starts)
        if width * len(starts) > max(_SMALL, _MAX_PADDING * unpadded):
            objects = np.empty(len(starts), object)
            for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
                objects[i] = self._text[start : start + length].tobytes()
            return objects
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

    def _require_no_nul(self, text: bytes) -> None:
        if (place := text.find(b"\0")) >= 0:
            line = text.count(b"\n", 0, place) + 1
            raise SVError(
                f"{self.name}: line {line} has a NUL byte; give a UTF-8 text file"
            )

    def _require_visible_keys(self) -> None:
        suspects = _find(self._text, _SUSPECT)
        lines = np.searchsorted(self._starts, suspects, "right") - 1
        in_key = suspects < self._starts[lines] + self._key_lengths[lines]
        for line in np.unique(lines[in_key]).tolist():
            if problem := invisible(self.key(line)):
                raise SVError(f"{self.name}: line {line + 1} {problem}")

    def _require_unique(self) -> None:
        keys, order = self._sorted_keys
        same = keys[1:] == keys[:-1]
        if same.any():
            place = int(np.argmax(same))
            first, again = (place, place + 1) if order is None else order[place:][:2]
            raise SVError(
                f"{self.name}: line {again + 1} repeats key {self.key(again)} of line"
                f" {first + 1} ({int(same.sum())} repeated keys in all); keep one line"
                " per key"
            )


def invisible(key: str) -> str:
    """Describe characters that an id must not have; "" if there are none.

    They are control characters, white space of any kind and byte order marks.
    """
    for c in key:
        if c.isspace() or unicodedata.category(c) == "Cc" or c == "\ufeff":
            return (
                f"has U+{ord(c):04X} ({unicodedata.name(c, 'a control character')}) in"
                f" its key {printable(key)}; remove it"
            )
    return ""


def encode_keys(names: Sequence[str]) -> np.ndarray:
    """Return names as an array of bytes (N,) for :meth:`KaldiTable.find`.

    A name that no table can have (too long, not UTF-8) becomes one that is not found.
    """
    encoded = [_encode_key(name) for name in names]
    lengths = [len(name) for name in encoded]
    padded = max(lengths, default=0) * len(names)
    if padded > max(_SMALL, _MAX_PADDING * (sum(lengths) + _OBJECT * len(names))):
        keys = np.empty(len(names), object)
        keys[:] = encoded
        return keys
    return np.array(encoded, dtype=bytes)


def read_two_column(
    path: str | os.PathLike, allow_empty_values: bool = False
) -> dict[str, str]:
    """Read ``key value`` lines in file order.

    Raises:
        SVError: The file cannot be read, or is malformed, see :class:`KaldiTable`.
    """
    return dict(KaldiTable.read(path, allow_empty_values).items())


def write_two_column(path: str | os.PathLike, mapping: Mapping[str, str]) -> None:
    """Write ``key value`` lines sorted in byte (C locale) order, as Kaldi requires.

    Raises:
        SVError: A key or value would not come back, e.g. a key with a space; or the
            file cannot be written.
    """
    with atomic_write(path) as f:
        f.writelines(_line(key, mapping[key], str(path)) for key in sorted(mapping))


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


def _encode_key(name: str) -> bytes:
    cut = name[: MAX_KEY_BYTES + 1].encode(errors="surrogatepass")
    return cut.replace(b"\0", b"\xff")  # NumPy drops NULs at the end


def _line(key: str, value: str, name: str) -> str:
    """Return a line of the table ``name``; SVError if it could not be read back."""
    line = f"{key} {value}".rstrip() + "\n"
    whole = line.count("\n") == 1 and "\0" not in line and _is_utf8(line)
    if key.split() != [key] or not whole:
        raise SVError(f"{name}: {printable(line)!a} is not a key and its value")
    return line


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find(text: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """Return the positions of the wanted bytes, ascending, int64."""
    is_wanted = np.zeros(256, bool)
    is_wanted[list(wanted)] = True
    found = [np.zeros(0, np.int64)]
    for start in range(0, len(text), _BLOCK):
        block = text[start : start + _BLOCK]
        found.append(np.flatnonzero(is_wanted[block]) + start)
    return np.concatenate(found)
