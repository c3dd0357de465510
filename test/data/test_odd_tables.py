"""Tables of every odd kind: read exactly as Kaldi would, or refused by line."""

import os
import re
import tracemalloc
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espnet2_sv.data.check_tables import bad_lines, check_table
from espnet2_sv.data.kaldi import (
    MAX_KEY_BYTES,
    KaldiTable,
    encode_keys,
    read_spk2utt,
    read_two_column,
    write_two_column,
)
from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.data.segments import Utterances
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(200)

BOM, NBSP, IDEOGRAPHIC_SPACE = "\ufeff", "\u00a0", "\u3000"
PIECES = [
    *(b"a", b"b", b"utt1", b" ", b"  ", b"\t", b"\n", b"\n\n", b"\r\n", b"\r", b"|"),
    *(b"\0", b"\x01", b"\x0b", b"\x1b[31m", b"\x7f", b"\xff", b"\xc3", b"/x.wav"),
    *(b" " * 40, b"x" * MAX_KEY_BYTES, b"y" * (MAX_KEY_BYTES + 1)),
    *(
        s.encode()
        for s in (BOM, NBSP, IDEOGRAPHIC_SPACE, "\u2028", "\u200b", "\x85", "\u1680")
    ),
    *(s.encode() for s in ("é", "e\u0301", "日本", "𝄞", "·", "Ω")),
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


def reference(text, allow_empty_values=False):
    """Return what a table holds; ValueError if it must be refused."""
    entries = {}
    text = text.decode()  # UnicodeDecodeError is a ValueError
    for line in text.removesuffix("\n").split("\n") if text else ():
        key, *rest = re.split("[ \t]+", line.rstrip(" \t\r"), maxsplit=1)
        value = rest[0] if rest else ""
        good = key.split() == [key] and len(key.encode()) <= MAX_KEY_BYTES
        control = any(unicodedata.category(c) == "Cc" or c == BOM for c in key)
        if not good or control or "\0" in line or key in entries:
            raise ValueError(line)
        if not value and not allow_empty_values:
            raise ValueError(line)
        entries[key] = value
    return entries


@settings(max_examples=1000)
@given(TEXT, st.booleans())
@example(b"a 1\nb" + b" " * 5000 + b"2" + b"\t" * 5000 + b"\r\n", False)
@example(b"\xef\xbb\xbfa 1\n", False)
@example(b"a 1\r\nb 2\r\n", False)
@example(b"a\rb 1\n", False)
@example(b"a 1", False)
@example(b"\n", False)
def test_a_table_is_read_exactly_or_refused_by_line(text, allow_empty_values):
    try:
        expected = reference(text, allow_empty_values)
    except ValueError:
        with pytest.raises(SVError, match=r"^wav.scp: line \d+ ") as error:
            KaldiTable(text, "wav.scp", allow_empty_values)
        assert "\n" not in str(error.value)
        return
    table = KaldiTable(text, "wav.scp", allow_empty_values)
    assert dict(table.items()) == expected
    assert table.names().tolist() == list(expected)
    assert [v.decode() for v in table.values().tolist()] == list(expected.values())
    assert table.find(encode_keys(list(expected))).tolist() == list(range(len(table)))


@settings(max_examples=1000)
@given(TEXT)
def test_the_check_lists_bad_lines_exactly_where_reading_fails(text):
    bad = list(bad_lines(text)) if text else []
    try:
        KaldiTable(text, "wav.scp")
    except SVError as error:
        line = int(re.match(r"wav.scp: line (\d+)", str(error))[1])
        assert line in {number for number, _ in bad}
    else:
        assert bad == []


@given(TEXT)
def test_readers_built_on_tables_refuse_in_one_line(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    for name in ("spk2utt", "segments"):
        (folder / name).write_bytes(text)
    (folder / "wav.scp").write_bytes(b"a /x.wav\n")
    for read in (
        lambda: read_spk2utt(folder / "spk2utt"),
        lambda: SpeakerLabels.from_spk2utt(folder / "spk2utt"),
        lambda: SpeakerLabels.load(folder / "spk2utt"),
        lambda: list(Utterances(folder)),
    ):
        try:
            read()
        except SVError as error:
            assert str(error).startswith(f"{folder}/")


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        (BOM + "a 1\n", "line 1 starts with a byte order mark (U+FEFF)"),
        (f"a 1\nb{BOM} 2\n", "line 2 has U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        (f"a 1\nb{NBSP}c 2\n", "line 2 has U+00A0 (NO-BREAK SPACE) in its key b\\xa0c"),
        ("a 1\nb\x1b[31m 2\n", "line 2 has U+001B (a control character)"),
        ("a 1\nb 2\0\n", "line 2 has a NUL byte"),
    ],
)
def test_what_cannot_be_seen_is_named(tmp_path, text, visible):
    (tmp_path / "wav.scp").write_text(text)
    with pytest.raises(SVError, match=re.escape(visible)):
        read_two_column(tmp_path / "wav.scp")
    report = ValidationReport()
    assert check_table(tmp_path / "wav.scp", report) is None
    (line,) = report.problems()
    assert visible in line
    assert line.isprintable()


def test_keys_that_look_the_same_are_reported(tmp_path):
    write_two_column(tmp_path / "wav.scp", {"caf\u00e9": "1", "cafe\u0301": "2"})
    report = ValidationReport()
    assert check_table(tmp_path / "wav.scp", report) is not None
    (line,) = report.problems()
    assert "'caf\\xe9'" in line
    assert "'cafe\\u0301' of line 1" in line
    assert "Unicode normalisation" in line


@pytest.mark.parametrize("make", ["folder", "pipe", "device", "dangling", "name"])
def test_what_is_no_table_is_a_problem(tmp_path, make):
    path = tmp_path / "wav.scp"
    match make:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "dangling":
            path.symlink_to("nothing")
        case "name":
            path = tmp_path / "wav\0scp"
    report = ValidationReport()
    table = check_table(path, report)
    assert report.num_problems == 1
    assert not table
    if make != "pipe":  # an empty table by itself; its users refuse that
        with pytest.raises(SVError):
            KaldiTable.read(path)


@given(st.lists(st.text(max_size=5), max_size=5))
@example(["a", "a\0", "\ud800", "x" * MAX_KEY_BYTES, "x" * (MAX_KEY_BYTES + 1)])
def test_only_what_a_table_holds_is_found(names):
    table = KaldiTable(b"a 1\n? 2\n" + b"x" * MAX_KEY_BYTES + b" 3\n", "wav.scp")
    ours = table.names().tolist()
    expected = [ours.index(name) if name in ours else -1 for name in names]
    assert table.find(encode_keys(names)).tolist() == expected


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=4))
def test_what_is_written_is_read_back_or_refused(tmp_path_factory, mapping):
    path = tmp_path_factory.getbasetemp() / "written"
    try:
        write_two_column(path, mapping)
    except SVError as error:
        assert "\n" not in str(error)
        return
    try:
        found = read_two_column(path, allow_empty_values=True)
    except SVError:
        assert any(not key.isprintable() for key in mapping)
        return
    assert found == {
        key: value.rstrip().lstrip(" \t") for key, value in mapping.items()
    }


def test_one_long_entry_among_many_costs_what_it_holds():
    lines = [b"id%06d s%d" % (i, i % 7) for i in range(200_000)]
    lines[777] = b"id" + b"x" * (MAX_KEY_BYTES - 2) + b" " + b"y" * 2_000_000
    text = b"\n".join(lines)
    tracemalloc.start()
    table = KaldiTable(text, "utt2spk")
    assert len(set(table.values().tolist())) == 8
    assert (table.find(table.keys()) == np.arange(len(lines))).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(text)
    assert len(table.value(777)) == 2_000_000


def test_an_endless_id_among_many_lines_is_refused():
    lines = [b"id%06d /x.wav" % i for i in range(200_000)]
    lines[777] = b"x" * 2_000_000 + b" /x.wav"
    with pytest.raises(SVError, match="line 778 has a key of more than 1000 bytes"):
        KaldiTable(b"\n".join(lines), "wav.scp")


def test_blanks_by_the_million_are_skipped_at_once():
    lines = [b"id%06d x" % i for i in range(100_000)]
    lines[5] = b"id000005" + b" " * 3_000_000 + b"x" + b"\t" * 3_000_000
    table = KaldiTable(b"\n".join(lines), "wav.scp")
    assert set(table.values().tolist()) == {b"x"}


def test_long_and_short_keys_are_found_alike():
    names = [f"k{i:05d}" for i in range(5000)] + ["z" * MAX_KEY_BYTES]
    table = KaldiTable.from_dict(dict.fromkeys(names, "v"), "t")
    assert table.keys().dtype == object  # this test is about the unpadded form
    assert table.first_unsorted is None
    for keys in (encode_keys(names), np.array([n.encode() for n in names])):
        assert table.find(keys).tolist() == list(range(len(names)))
    small = KaldiTable.from_dict({"k00003": "v"}, "t")
    assert small.find(table.keys())[:5].tolist() == [-1, -1, -1, 0, -1]
