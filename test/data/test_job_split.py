import itertools
import math
import signal

import pytest

from espnet2_sv.data.audio import audio_info
from espnet2_sv.data.job_split import in_processes, select_split
from espnet2_sv.errors import SVError


@pytest.mark.parametrize("count", [1, 3, 20])
def test_every_item_is_in_one_split(count):
    items = list(range(11))
    splits = [list(select_split(items, f"{i}/{count}")) for i in range(1, count + 1)]
    assert sorted(x for split in splits for x in split) == items
    assert max(map(len, splits)) - min(map(len, splits)) <= 1


def test_none_is_all():
    assert list(select_split([1, 2], None)) == [1, 2]


@pytest.mark.parametrize("split", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"])
def test_an_invalid_split_is_refused(split):
    with pytest.raises(
        SVError, match=f"{split}' is not understood; write i/n, for example 3/8"
    ):
        select_split([], split)


@pytest.mark.parametrize("nj", [1, 2])
def test_results_come_in_order(nj):
    assert list(in_processes(math.sqrt, range(20), nj)) == [
        math.sqrt(x) for x in range(20)
    ]


@pytest.mark.parametrize("alone_seconds", [1e-9, 1e9])
def test_no_item_is_lost_or_done_twice_where_processes_start_later(alone_seconds):
    for count in (0, 1, 20):
        found = in_processes(math.sqrt, range(count), 2, alone_seconds)
        assert list(found) == [math.sqrt(x) for x in range(count)]


@pytest.mark.parametrize("nj", [1, 2])
def test_items_are_taken_as_results_are(nj):
    endless = in_processes(math.factorial, itertools.count(), nj)
    assert list(itertools.islice(endless, 5)) == [1, 1, 2, 6, 24]
    endless.close()


@pytest.mark.parametrize("nj", [1, 2])
def test_errors_keep_their_one_line(nj):
    with pytest.raises(SVError) as error:
        list(in_processes(audio_info, ["/gone.wav"], nj))
    assert str(error.value).startswith("/gone.wav: no such audio file")
    assert "\n" not in str(error.value)


def test_a_killed_process_is_reported():
    with pytest.raises(SVError, match="worker process was killed"):
        list(in_processes(signal.raise_signal, [signal.SIGKILL] * 2, 2))


def test_no_processes_are_refused():
    with pytest.raises(SVError, match="nj is 0"):
        list(in_processes(math.sqrt, [1], 0))
