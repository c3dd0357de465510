import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.kaldi import (
    KaldiTable,
    read_spk2utt,
    read_two_column,
    spk2utt_to_utt2spk,
    write_spk2utt,
    write_two_column,
)
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(200)

# no white space, no control characters
WORD = st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=12
).filter(lambda s: not s.isspace() and s.split() == [s])
VALUE = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


@given(st.dictionaries(WORD, VALUE, max_size=30))
def test_holds_what_a_dictionary_holds(entries):
    table = KaldiTable.from_dict(entries, "entries")
    assert dict(table.items()) == entries
    assert [k.decode() for k in table.keys().tolist()] == list(entries)
    assert [v.decode() for v in table.values().tolist()] == list(entries.values())


@given(st.dictionaries(WORD, VALUE, max_size=30), st.lists(WORD, max_size=10))
def test_finds_entries_in_any_order(entries, others):
    table = KaldiTable.from_dict(entries, "entries")
    wanted = [*reversed(entries), *others]
    places = table.find(np.array([w.encode() for w in wanted], dtype=bytes))
    names = list(entries)
    assert list(places) == [names.index(w) if w in entries else -1 for w in wanted]


@given(st.lists(WORD, unique=True, max_size=30))
def test_sortedness_is_that_of_bytes(keys):
    first = KaldiTable.from_dict(dict.fromkeys(keys, "x"), "entries").first_unsorted
    raw = [k.encode() for k in keys]
    assert (first is None) == (raw == sorted(raw))
    if first is not None:
        assert raw[first] < raw[first - 1]
        assert raw[:first] == sorted(raw[:first])


def test_tabs_carriage_returns_and_a_missing_last_newline_do_not_matter(tmp_path):
    (tmp_path / "wav.scp").write_bytes(b"a\tone  two \r\nb   cat x.wav |\t\nc 3")
    table = KaldiTable.read(tmp_path / "wav.scp")
    assert dict(table.items()) == {"a": "one  two", "b": "cat x.wav |", "c": "3"}


def test_a_key_may_stand_alone_where_allowed():
    assert dict(KaldiTable(b"a\nb x\n", "text", True).items()) == {"a": "", "b": "x"}


def test_an_empty_file_is_an_empty_table():
    table = KaldiTable(b"", "wav.scp")
    assert len(table) == 0
    assert list(table.find(np.array([b"a"]))) == [-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a 1\n\nb 2\n", "wav.scp: line 2 is empty"),
        (b"a 1\n \nb 2\n", "wav.scp: line 2 is empty"),
        (b"a 1\nb\n", "wav.scp: line 2 has a key but no value"),
        (b"a 1\n b 2\n", "wav.scp: line 2 starts with white space"),
        (b"b 1\na 2\nb 3\n", "wav.scp: line 3 repeats key b of line 1 "),
        (b"a 1\nb \xff\n", "wav.scp: line 2 is not UTF-8"),
    ],
)
def test_malformed_lines_are_named(text, message):
    with pytest.raises(SVError, match=message):
        KaldiTable(text, "wav.scp")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SVError, match=r"nowhere/utt2spk: cannot be read"):
        KaldiTable.read(tmp_path / "nowhere" / "utt2spk")


def test_a_large_table_costs_little_more_than_its_text(tmp_path):
    lines = "".join(
        f"id{i // 100:05d}-{i:07d} /a/path/{i:07d}.wav\n" for i in range(200_000)
    )
    (tmp_path / "wav.scp").write_text(lines)
    table = KaldiTable.read(tmp_path / "wav.scp")
    arrays = [v for v in vars(table).values() if isinstance(v, np.ndarray)]
    assert sum(a.nbytes for a in arrays) <= len(lines) + 20 * len(table)
    assert table.key(199_999) == "id01999-0199999"
    assert os.path.basename(table.value(123_456)) == "0123456.wav"


def test_two_columns_come_back_sorted(tmp_path):
    write_two_column(tmp_path / "x", {"b": "2 3", "a": "1", "Z": "0"})
    assert (tmp_path / "x").read_text() == "Z 0\na 1\nb 2 3\n"
    assert read_two_column(tmp_path / "x") == {"Z": "0", "a": "1", "b": "2 3"}


def test_a_repeated_key_is_an_error(tmp_path):
    (tmp_path / "wav.scp").write_text("a 1\nb 2\na 3\n")
    with pytest.raises(SVError, match=r"wav.scp: line 3 repeats key a of line 1 "):
        read_two_column(tmp_path / "wav.scp")


def test_spk2utt_gives_each_utterance_its_speaker(tmp_path):
    utt2spk = {"s2-a": "s2", "s1-b": "s1", "s1-a": "s1"}
    spk2utt = {"s1": ["s1-a", "s1-b"], "s2": ["s2-a"]}
    assert spk2utt_to_utt2spk(spk2utt) == utt2spk
    write_spk2utt(tmp_path / "spk2utt", spk2utt)
    assert read_spk2utt(tmp_path / "spk2utt") == spk2utt


def test_an_utterance_of_two_speakers_is_an_error(tmp_path):
    (tmp_path / "spk2utt").write_text("s1 a b\ns2 b\n")
    with pytest.raises(
        SVError, match=r"spk2utt: utterance b is listed for speaker s1 and again"
    ):
        read_spk2utt(tmp_path / "spk2utt")
