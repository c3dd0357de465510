import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.batches import measure, plan_batches
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.errors import SVError

ITEMS = st.lists(
    st.tuples(st.integers(0, 12) | st.just(math.inf), st.booleans()), max_size=40
)
BOUND = st.none() | st.integers(1, 40)
ROWS = st.none() | st.integers(1, 6)


@given(ITEMS, BOUND, ROWS, st.booleans())
def test_batches_hold_every_item_once_and_keep_within_the_bounds(
    items, bound, rows, equal_only
):
    lengths, alone = [x[0] for x in items], [x[1] for x in items]
    batches = plan_batches(lengths, bound, rows, equal_only, alone)
    assert sorted(i for batch in batches for i in batch) == list(range(len(items)))
    for batch in batches:
        own = [lengths[i] for i in batch]
        if len(batch) > 1:
            assert math.isfinite(max(own))
            assert not any(alone[i] for i in batch)
            assert bound is None or max(own) * len(batch) <= bound
            assert rows is None or len(batch) <= rows
            assert not equal_only or len(set(own)) == 1


@given(ITEMS, BOUND, ROWS, st.booleans())
def test_batches_come_longest_first(items, bound, rows, equal_only):
    lengths, alone = [x[0] for x in items], [x[1] for x in items]
    batches = plan_batches(lengths, bound, rows, equal_only, alone)
    planned = [lengths[i] for batch in batches for i in batch]
    assert planned == sorted(lengths, reverse=True)


@given(ITEMS, BOUND, ROWS, st.booleans())
def test_no_batch_has_room_for_the_next_item(items, bound, rows, equal_only):
    lengths = [length for length, _ in items]
    batches = plan_batches(lengths, bound, rows, equal_only)
    for batch, following in itertools.pairwise(batches):
        longest, item = lengths[batch[0]], lengths[following[0]]
        assert (
            math.isinf(longest)
            or (bound is not None and (len(batch) + 1) * longest > bound)
            or (rows is not None and len(batch) == rows)
            or (equal_only and item != longest)
        )


def test_equal_lengths_share_batches():
    lengths = np.array([5, 3, 5, 3, 5, 3])
    alone = np.array([False] * 5 + [True])
    batches = plan_batches(lengths, None, 2, equal_lengths_only=True, alone=alone)
    assert batches == [[0, 2], [4], [1, 3], [5]]


def test_lengths_are_those_of_the_decoded_audio(write_wav, write_m4a, noise):
    wavs = {
        "a": write_wav("a.wav", 4000),
        "b": write_wav("b.flac", 4001, rate=44100),
        "c": write_wav("c.ogg", 9000, rate=8000),
        "d": write_m4a("d.m4a", noise(5000)),
    }
    table = KaldiTable.from_dict(wavs, "wav.scp")
    lengths = measure(table, np.arange(4), 16000)
    assert lengths.exact.tolist() == [True, True, True, False]
    decoded = [len(read_audio(path)) for path in wavs.values()]
    assert lengths.samples[:3].tolist() == decoded[:3]
    assert abs(lengths.samples[3] - decoded[3]) < 2048
    some = measure(table, np.array([2, 0]), 16000)
    assert some.samples.tolist() == [decoded[2], decoded[0]]


def test_an_unreadable_header_is_an_error_that_names_the_utterance(tmp_path):
    table = KaldiTable.from_dict({"u1": f"{tmp_path}/gone.wav"}, "wav.scp")
    with pytest.raises(
        SVError, match=r"^utterance u1: .*gone\.wav: no such audio file"
    ):
        measure(table, np.arange(1), 16000)
