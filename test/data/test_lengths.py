import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.lengths import Lengths, bucket, measure
from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError

LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40).map(
    lambda pairs: Lengths(
        np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], bool)
    )
)


@given(LENGTHS, st.integers(1, 6), st.none() | st.integers(1, 40), st.booleans())
def test_buckets_hold_everything_once_within_bounds(lengths, size, most, equal_only):
    batches = bucket(lengths, size, most, equal_only)
    assert sorted(np.concatenate([[], *batches])) == list(range(len(lengths.samples)))
    longest = []
    for batch in batches:
        samples, exact = lengths.samples[batch], lengths.exact[batch]
        longest.append(samples.max())
        assert len(batch) <= size
        assert len(batch) == 1 or samples.min() > 0
        if most is not None and len(batch) > 1:
            assert samples.max() * len(batch) <= most
        if equal_only and len(batch) > 1:
            assert len(set(samples)) == 1
            assert exact.all()
    assert longest == sorted(longest, reverse=True)


def test_equal_lengths_share_batches():
    lengths = Lengths(np.array([5, 3, 5, 3, 5, 3]), np.array([True] * 5 + [False]))
    batches = bucket(lengths, 2, equal_only=True)
    assert [sorted(b) for b in batches] == [[0, 2], [4], [1, 3], [5]]


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
    assert lengths.clipped(4000).samples.tolist() == [4000, decoded[1], 4000, 4000]


def test_known_durations_save_reading_headers(write_wav):
    table = KaldiTable.from_dict(
        {"a": "/gone/a.wav", "b": write_wav("b.wav", 300)}, "wav.scp"
    )
    lengths = measure(table, np.arange(2), 8000, KaldiTable(b"a 0.5\nc 1\n", "utt2dur"))
    assert lengths.samples.tolist() == [4000, 150]
    with pytest.raises(SVError, match="utt2dur: utterance a has duration long"):
        measure(table, np.arange(1), 8000, KaldiTable(b"a long\n", "utt2dur"))


def test_unreadable_headers_are_named_or_of_unknown_length(tmp_path):
    table = KaldiTable.from_dict(
        {"u1": f"{tmp_path}/gone.wav", "u2": "cat x |"}, "wav.scp"
    )
    with pytest.raises(
        SVError, match=r"^utterance u1: .*gone\.wav: no such audio file"
    ):
        measure(table, np.arange(2), 16000)
    lengths = measure(table, np.arange(2), 16000, strict=False, allow_pipes=True)
    assert lengths.samples.tolist() == [0, 0]
    assert lengths.exact.tolist() == [False, False]
