"""Tables of ``enroll test value`` lines, read by the million into integer codes."""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pyarrow as pa
from pyarrow import csv

from espnet2_sv.data.kaldi import MAX_KEY_BYTES
from espnet2_sv.errors import SVError, printable
from espnet2_sv.textfile import decode, read_bytes


@dataclass(frozen=True)
class Pairs:
    """Pairs of names, stored as integer codes so that millions of lines stay small.

    Attributes:
        enroll_names: The distinct names of the enrolment side, in order of first
            appearance.
        test_names: The distinct names of the test side.
        enroll_index: (K,) int32 index into ``enroll_names`` of each line.
        test_index: (K,) int32 index into ``test_names`` of each line.
    """

    enroll_names: list[str]
    test_names: list[str]
    enroll_index: np.ndarray
    test_index: np.ndarray

    def __len__(self) -> int:
        return len(self.enroll_index)

    @property
    def enroll(self) -> np.ndarray:
        """(K,) enrolment name of each line, as Python strings."""
        return np.array(self.enroll_names, object)[self.enroll_index]

    @property
    def test(self) -> np.ndarray:
        """(K,) test name of each line, as Python strings."""
        return np.array(self.test_names, object)[self.test_index]

    def pair_codes(self) -> np.ndarray:
        """(K,) int64, one number per distinct pair."""
        return (
            self.enroll_index.astype(np.int64) * len(self.test_names) + self.test_index
        )

    def line(self, row: int) -> str:
        """``enroll_utt test_utt`` of one line, for messages."""
        return (
            f"{self.enroll_names[self.enroll_index[row]]}"
            f" {self.test_names[self.test_index[row]]}"
        )


@dataclass(frozen=True)
class Column:
    """The third field of a line.

    Attributes:
        line_format: Format of a whole line, for error messages.
        type: Arrow type of the values.
        parse: Converts one field to a value, or raises ``ValueError``.
        true: Spelling of true, for a Boolean column.
        false: Spelling of false.
    """

    line_format: str
    type: pa.DataType
    parse: Callable[[str], object]
    true: str = "true"
    false: str = "false"


def read_pairs(path: str | PathLike, column: Column) -> tuple[Pairs, np.ndarray]:
    """Read lines of an enrolment name, a test name and a value.

    Arrow reads files with single-space separators. Anything else is parsed line by
    line, which accepts any white space and can report the number of a malformed line.

    Returns:
        The pairs and the (K,) values.

    Raises:
        SVError: The file is missing or empty, a line is malformed, or a pair appears
            twice with different values (equal repeats are kept, with a logged warning).
    """
    content = read_bytes(path)
    table = _read_fast(content, column)
    if table is None:
        table = _read_lines(path, decode(content, str(path)), column)
    if not len(table):
        raise SVError(f"{path}: is empty; expected lines '{column.line_format}'")
    enroll, test = table["enroll"].chunk(0), table["test"].chunk(0)
    pairs = Pairs(
        enroll.dictionary.to_pylist(),
        test.dictionary.to_pylist(),
        enroll.indices.to_numpy(),
        test.indices.to_numpy(),
    )
    values = table["value"].chunk(0).to_numpy(zero_copy_only=False)
    _check_repeats(path, pairs, values)
    return pairs, values


def _read_fast(content: bytes, column: Column) -> pa.Table | None:
    """Read fields separated by single spaces; None if any line is different."""
    name = pa.dictionary(pa.int32(), pa.string())
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(
                column_names=["enroll", "test", "value"], block_size=1 << 22
            ),
            csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types={"enroll": name, "test": name, "value": column.type},
                true_values=[column.true],
                false_values=[column.false],
                null_values=[],
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowCapacityError):
        return None
    table = table.unify_dictionaries().combine_chunks()
    if not len(table):
        return None
    names = (
        n
        for side in ("enroll", "test")
        for n in table[side].chunk(0).dictionary.to_pylist()
    )
    good = all(len(n.encode()) <= MAX_KEY_BYTES and n.split() == [n] for n in names)
    return table if good else None


def _read_lines(path: str | PathLike, text: str, column: Column) -> pa.Table:
    """Read fields separated by any white space, line by line.

    Raises:
        SVError: A line is malformed.
    """
    codes: tuple[dict[str, int], dict[str, int]] = ({}, {})
    index: tuple[list[int], list[int]] = ([], [])
    values = []
    for number, line in enumerate(io.StringIO(text), 1):
        try:
            enroll, test, value = line.split()
            values.append(column.parse(value))
        except ValueError:
            raise SVError(
                f"{path}: line {number} is '{printable(line.strip(), 80)}', not"
                f" '{column.line_format}'"
            ) from None
        if max(len(enroll.encode()), len(test.encode())) > MAX_KEY_BYTES:
            raise SVError(
                f"{path}: line {number} has a name of more than {MAX_KEY_BYTES}"
                " bytes; shorten it"
            )
        for side, field in enumerate((enroll, test)):
            index[side].append(codes[side].setdefault(field, len(codes[side])))
    columns = [
        pa.chunked_array(
            [
                pa.DictionaryArray.from_arrays(
                    pa.array(i, pa.int32()), pa.array(list(c), pa.string())
                )
            ]
        )
        for i, c in zip(index, codes, strict=True)
    ]
    columns.append(pa.chunked_array([pa.array(values, column.type)]))
    return pa.table(columns, ["enroll", "test", "value"])


def _check_repeats(path: str | PathLike, pairs: Pairs, values: np.ndarray) -> None:
    """Raise on contradictory repeats and warn about others.

    Published lists repeat some lines, and published results count them.
    """
    codes = pairs.pair_codes()
    ordered = np.sort(codes)
    repeated = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if not repeated:
        return
    order = np.lexsort((values, codes))
    again = np.flatnonzero(codes[order[1:]] == codes[order[:-1]])
    differ = again[values[order[again + 1]] != values[order[again]]]
    trial = order[differ[0] if len(differ) else again[0]]
    name = pairs.line(trial)
    if len(differ):
        raise SVError(
            f"{path}: the pair '{name}' is listed twice with different values; keep one"
        )
    logging.warning(
        f"{path}: {repeated} lines repeat an earlier one, e.g. '{name}'; all count"
    )
