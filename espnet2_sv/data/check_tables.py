"""Check Kaldi tables, and report every bad line rather than the first."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from espnet2_sv.data.kaldi import MAX_KEY_BYTES, KaldiTable, invisible
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError, printable
from espnet2_sv.textfile import BYTE_ORDER_MARK, read_bytes


def check_table(
    path: Path, report: ValidationReport, needed: bool = True
) -> KaldiTable | None:
    """Read a two-column file.

    Args:
        path: The file.
        report: Collects its bad lines, unsorted lines, and keys that look the same.
        needed: Whether a missing file is a problem.

    Returns:
        The table, or None if it is missing or malformed.
    """
    if not os.path.lexists(path):
        if needed:
            report.problem("files", f"{path}: is missing")
        return None
    try:
        text = read_bytes(path)
    except SVError as e:
        report.problem("files", str(e))
        return None
    try:
        table = KaldiTable(text, str(path))
    except SVError as e:
        bad = list(bad_lines(text))
        for number, problem in bad:
            report.problem(f"{path}: lines", f"{path}: line {number} {problem}")
        if not bad:
            report.problem("files", str(e))
        return None
    if not len(table):
        report.problem("files", f"{path}: is empty")
    elif (place := table.first_unsorted) is not None:
        report.problem(
            "order",
            f"{path}: is not sorted, {table.key(place)} (line {place + 1}) comes after "
            f"{table.key(place - 1)}; run LC_ALL=C sort -o {path} {path}",
        )
    if not text.isascii():
        _check_normalisation(table, report)
    return table


def bad_lines(text: bytes) -> Iterator[tuple[int, str]]:
    """Yield number and problem of each malformed line of a two-column file."""
    seen: dict[bytes, int] = {}
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n"), 1):
        key = line.replace(b"\t", b" ").rstrip(b" \r").split(b" ", 1)[0]
        if problem := _problem(line, number == 1):
            yield number, problem
        elif key in seen:
            yield number, f"repeats key {key.decode()} of line {seen[key]}; keep one"
        else:
            seen[key] = number


def _problem(line: bytes, first: bool) -> str:
    """Say what is wrong with a line by itself; "" if nothing is."""
    if first and line.startswith(BYTE_ORDER_MARK):
        return (
            "starts with a byte order mark (U+FEFF); save the file as UTF-8 without it"
        )
    if b"\0" in line:
        return "has a NUL byte; give a UTF-8 text file"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "is not UTF-8; convert the file"
    content = text.rstrip(" \t\r")
    if not content:
        return "is empty; remove it"
    if content[0] in " \t":
        return "starts with white space; remove it"
    key, *value = content.replace("\t", " ").split(" ", 1)
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"has a key of more than {MAX_KEY_BYTES} bytes; shorten it"
    if not value:
        return f"has a key but no value: {printable(key)}"
    return invisible(key)


class SimilarKeys:
    """Finds keys that differ from a name only in their Unicode normalisation.

    A letter with an accent is one character or two ("\u00e9", "e\u0301"), which look
    the same. Files copied from a Mac often have the second form.

    Args:
        keys: The known keys.
    """

    def __init__(self, keys: Iterable[str]):
        self._keys = {normalise(key): key for key in keys if not key.isascii()}

    def hint(self, name: str) -> str:
        """Return a half-sentence about the key that looks like ``name``, or ""."""
        other = self._keys.get(normalise(name), name)
        if other == name:
            return ""
        return (
            f" ({name!a} and {other!a} differ only in Unicode normalisation; convert"
            " all names to NFC)"
        )


def normalise(name: str) -> str:
    """Return the composed form (NFC) of a name."""
    return unicodedata.normalize("NFC", name)


def _check_normalisation(table: KaldiTable, report: ValidationReport) -> None:
    lines: dict[str, int] = {}
    for i in range(len(table)):
        key = table.key(i)
        if key.isascii():
            continue
        first = lines.setdefault(normalise(key), i)
        if first != i:
            report.problem(
                f"{table.name}: normalisation",
                f"{table.name}: line {i + 1} has key {key!a}, which looks like"
                f" {table.key(first)!a} of line {first + 1}: they differ only in"
                " Unicode normalisation; convert all names to NFC",
            )
