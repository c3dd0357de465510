import os

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.inference.shards import make_shards


@pytest.fixture
def wavs(tmp_path):
    wavs = {}
    for i in range(7):
        (tmp_path / f"{i}.wav").write_bytes(bytes(i + 1))
        wavs[f"utt{i}"] = str(tmp_path / f"{i}.wav")
    wavs["in-ark"] = f"{tmp_path / '0.wav'}:12"
    wavs["pipe"] = "cat x |"
    return wavs


def keys(wavs, settings=None):
    return [shard.key for shard in make_shards(wavs, 4, settings or {"model": "m"})]


def test_shards_hold_every_utterance_in_order(wavs):
    shards = make_shards(wavs, 4, {})
    assert [len(shard.utterances) for shard in shards] == [4, 4, 1]
    assert [item for shard in shards for item in shard.utterances] == list(wavs.items())


def test_keys_tell_what_changed(wavs, tmp_path):
    before = keys(wavs)
    assert keys(dict(wavs)) == before
    changed = [a == b for a, b in zip(keys(wavs, {"model": "n"}), before, strict=True)]
    assert changed == [False] * 3
    (tmp_path / "5.wav").write_bytes(b"longer than it was")  # second shard
    assert [a == b for a, b in zip(keys(wavs), before, strict=True)] == [
        True,
        False,
        True,
    ]
    os.utime(tmp_path / "1.wav", ns=(1, 1))  # first shard
    assert keys(wavs)[0] != before[0]
    renamed = {f"new-{name}": audio for name, audio in wavs.items()}
    assert not set(keys(renamed)) & set(keys(wavs))


def test_a_changed_ark_is_noticed(wavs, tmp_path):
    only = {"in-ark": wavs["in-ark"]}
    before = keys(only)
    (tmp_path / "0.wav").write_bytes(b"other")
    assert keys(only) != before


def test_a_wrong_size_is_refused(wavs):
    with pytest.raises(SVError, match="shard_size"):
        make_shards(wavs, 0, {})
