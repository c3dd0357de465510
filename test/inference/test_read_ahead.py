import numpy as np
import pytest
import soundfile

from espnet2_sv.errors import SVError
from espnet2_sv.inference.reading import (
    batches_by_length,
    read_ahead,
    reader,
    reading_pool,
)


@pytest.fixture
def pool():
    with reading_pool(2) as pool:
        yield pool


@pytest.fixture
def recordings(tmp_path):
    items = []
    for i, seconds in enumerate([1.0, 4.0, 0.5, 2.0, 1.5, 0.5]):
        path = tmp_path / f"{i}.wav"
        soundfile.write(
            path, np.full(round(8000 * seconds), i / 10), 8000, subtype="FLOAT"
        )
        items.append((f"utt{i}", str(path)))
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    return [*items, ("broken", str(tmp_path / "broken.wav")), ("pipe", "cat x.wav |")]


def test_batches_hold_each_recording_once_within_the_bound(recordings, pool):
    batches = batches_by_length(recordings, 3.0, pool)
    assert sorted(item for batch in batches for item in batch) == sorted(recordings)
    seconds = {f"utt{i}": s for i, s in enumerate([1.0, 4.0, 0.5, 2.0, 1.5, 0.5])}
    for batch in batches:
        if len(batch) > 1:
            assert len(batch) * max(seconds[name] for name, _ in batch) <= 3.0
    assert len(batches) < len(recordings)


def test_recordings_of_unknown_length_come_alone(recordings, pool):
    batches = batches_by_length(recordings, 100.0, pool)
    alone = [batch[0][0] for batch in batches if len(batch) == 1]
    assert sorted(alone) == ["broken", "pipe"]


def test_order_is_kept_and_errors_are_values(recordings, pool):
    batches = [
        recordings[i : i + 2] for i in range(0, 8, 2)
    ] * 3  # more than is read ahead
    found = list(read_ahead(batches, reader(16000, allow_pipes=False), pool))
    assert [[name for name, _ in b] for b in found] == [
        [name for name, _ in b] for b in batches
    ]
    waves = dict(item for batch in found for item in batch)
    assert len(waves["utt1"]) == 64000
    assert waves["utt1"][32000] == pytest.approx(0.1, abs=1e-3)
    assert isinstance(waves["broken"], SVError)
    assert "allow_pipes" in str(waves["pipe"])


def test_any_trouble_of_a_decoder_is_told_with_the_file(pool):
    def crash(audio):
        raise ZeroDivisionError("division by zero")

    ((name, error),) = next(read_ahead([[("utt", "x.wav")]], crash, pool))
    assert name == "utt"
    assert isinstance(error, SVError)
    assert "x.wav" in str(error) and "division" in str(error)
