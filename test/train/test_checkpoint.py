import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies

from espnet2_sv.errors import SVError
from espnet2_sv.train.checkpoint import (
    CHECKPOINT,
    SAFE_CHECKPOINT,
    discard,
    has_checkpoint,
    restore,
    stash,
)


def write(path, content):
    torch.save(content, path)


@pytest.mark.parametrize("left_behind", [None, "half a file"])
def test_a_kill_keeps_the_checkpoint_of_the_last_completed_epoch(tmp_path, left_behind):
    checkpoint = tmp_path / CHECKPOINT
    write(checkpoint, "epoch 1")
    stash(tmp_path)
    if left_behind:
        checkpoint.write_text(left_behind)
    restore(tmp_path)
    assert torch.load(checkpoint) == "epoch 1"


def test_a_completed_run_keeps_only_its_last_checkpoint(tmp_path):
    checkpoint = tmp_path / CHECKPOINT
    write(checkpoint, "epoch 1")
    stash(tmp_path)
    write(checkpoint, "epoch 2")
    discard(tmp_path)
    restore(tmp_path)
    assert torch.load(checkpoint) == "epoch 2"
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize("left_behind", [None, "", "half a file"])
def test_a_kill_in_the_first_epoch_leaves_nothing_to_resume(tmp_path, left_behind):
    checkpoint = tmp_path / CHECKPOINT
    stash(tmp_path)
    if left_behind is not None:
        checkpoint.write_text(left_behind)
    assert not has_checkpoint(tmp_path)
    restore(tmp_path)
    assert list(tmp_path.iterdir()) == []
    stash(tmp_path)
    write(checkpoint, "epoch 1")
    stash(tmp_path)
    assert has_checkpoint(tmp_path)
    restore(tmp_path)
    assert torch.load(checkpoint) == "epoch 1"


def test_without_a_checkpoint_nothing_is_left_behind(tmp_path):
    stash(tmp_path)
    restore(tmp_path)
    discard(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path):
    """The bytes of a checkpoint."""
    state = {"model": {"w": torch.arange(1000.0)}, "optimizers": [{}], "reporter": {}}
    torch.save(state, tmp_path / "state.pth")
    written = (tmp_path / "state.pth").read_bytes()
    (tmp_path / "state.pth").unlink()
    return written


def test_a_whole_checkpoint_is_restored(tmp_path, saved):
    for name in (CHECKPOINT, SAFE_CHECKPOINT):
        (tmp_path / name).write_bytes(saved)
        restore(tmp_path)
        assert (tmp_path / CHECKPOINT).read_bytes() == saved


@pytest.mark.parametrize("name", [CHECKPOINT, SAFE_CHECKPOINT])
@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(data=strategies.data())
def test_a_damaged_checkpoint_is_named_and_kept(tmp_path, saved, name, data):
    size = len(saved)
    kind = data.draw(strategies.sampled_from(["cut", "zeroed", "hole", "other"]))
    if kind == "cut":
        damaged = saved[: data.draw(strategies.integers(0, size - 1))]
    elif kind == "zeroed":
        damaged = bytes(size)
    elif kind == "hole":  # in the tensor
        start = saved.index(np.arange(1000, dtype="float32").tobytes()[-400:])
        damaged = saved[:start] + bytes(400) + saved[start + 400 :]
    else:
        damaged = data.draw(strategies.binary(max_size=200))
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(SVError, match=rf"{name}: is cut off or damaged"):
        restore(tmp_path)
    assert (tmp_path / name).read_bytes() == damaged
    (tmp_path / name).unlink()


def test_the_protected_copy_serves_where_the_other_is_cut(tmp_path, saved):
    (tmp_path / SAFE_CHECKPOINT).write_bytes(saved)
    (tmp_path / CHECKPOINT).write_bytes(saved[:100])
    restore(tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == saved
