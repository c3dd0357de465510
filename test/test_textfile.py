import json
import math
import os
import socket
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espnet2_sv.errors import SVError, printable
from espnet2_sv.fileio import read_json
from espnet2_sv.textfile import decode, parse_float, parse_int, read_bytes, read_text

pytestmark = pytest.mark.execution_timeout(600)


def test_text_comes_back_as_it_is(tmp_path):
    (tmp_path / "x").write_bytes("é \r\n\x85".encode())
    assert read_text(tmp_path / "x") == "é \r\n\x85"


@pytest.mark.parametrize("reader", [read_bytes, read_text, read_json])
def test_what_is_no_file_is_refused_in_one_line(tmp_path, reader):
    os.mkfifo(tmp_path / "closed")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (
            tmp_path,
            tmp_path / "missing",
            tmp_path / "dangling",
            tmp_path / "loop",
            tmp_path / "socket",
            tmp_path / ("x" * 5000),
            "/dev/zero",
            "/dev/null",
            f"{tmp_path}/a\0b",
            f"{tmp_path}/a\ud800b",
        ):
            with pytest.raises(SVError) as error:
                reader(path)
            assert "\n" not in str(error.value)
            assert "\0" not in str(error.value)


def test_a_pipe_without_a_writer_is_empty_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert read_bytes(tmp_path / "pipe") == b""


def test_a_pipe_is_read_to_its_end(tmp_path):
    slow = "import time; print('a'); time.sleep(0.2); print('b')"
    with subprocess.Popen([sys.executable, "-uc", slow], stdout=subprocess.PIPE) as p:
        assert read_bytes(f"/dev/fd/{p.stdout.fileno()}") == b"a\nb\n"


@given(st.binary())
@example(b"\xef\xbb\xbfa 1\n")
@example(b"a\nb\n\xff\xfe")
def test_text_is_decoded_or_the_line_is_named(text):
    good = True
    try:
        text.decode()
    except UnicodeDecodeError:
        good = False
    if good and not text.startswith(b"\xef\xbb\xbf"):
        assert decode(text, "x") == text.decode()
    else:
        with pytest.raises(SVError, match=r"^x: line \d+ ") as error:
            decode(text, "x")
        line = int(str(error.value).split()[2])
        before = text.split(b"\n")[: line - 1]
        assert b"\n".join(before).decode() is not None  # all lines before are fine


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_that_were_written_come_back(number):
    assert parse_float(repr(number)) == number
    assert parse_float(json.dumps(number)) == number


@given(st.text())
@example("1_0")
@example("nan")
@example("-inf")
@example("1e400")
@example("0x1")
@example("\u0663")
@example("1\n")
@example(" 1")
@example("")
@example(".")
@example("1e")
@example("9" * 5000)
def test_a_number_is_finite_and_decimal_or_refused(text):
    try:
        number = parse_float(text)
    except ValueError as e:
        assert "\n" not in str(e)
        return
    assert math.isfinite(number)
    assert set(text) <= set("+-.eE0123456789")
    assert number == float(text)


@given(st.text())
@example("1_0")
@example("\u0663")
@example("9" * 5000)
@example("1\n")
def test_an_integer_is_decimal_or_refused(text):
    try:
        number = parse_int(text)
    except ValueError:
        return
    assert set(text) <= set("+-0123456789")
    assert number == int(text)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_integers_that_were_written_come_back(number):
    assert parse_int(str(number)) == number


@given(st.text(st.characters()))
@example("\ufeffa\x1b[31m\ud800\n")
def test_what_is_printed_is_one_visible_line(text):
    shown = printable(text, 60)
    assert shown.isprintable()
    shown.encode()
    if text.isprintable() and len(text) <= 60:
        assert shown == text
