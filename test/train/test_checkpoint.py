import pytest

from espnet2_sv.train.checkpoint import (
    CHECKPOINT,
    discard,
    has_checkpoint,
    restore,
    stash,
)


@pytest.mark.parametrize("left_behind", [None, "half a file"])
def test_a_kill_keeps_the_checkpoint_of_the_last_completed_epoch(tmp_path, left_behind):
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_text("epoch 1")
    stash(tmp_path)
    if left_behind:
        checkpoint.write_text(left_behind)
    restore(tmp_path)
    assert checkpoint.read_text() == "epoch 1"


def test_a_completed_run_keeps_only_its_last_checkpoint(tmp_path):
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_text("epoch 1")
    stash(tmp_path)
    checkpoint.write_text("epoch 2")
    discard(tmp_path)
    restore(tmp_path)
    assert checkpoint.read_text() == "epoch 2"
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
    checkpoint.write_text("epoch 1")
    stash(tmp_path)
    assert has_checkpoint(tmp_path)
    restore(tmp_path)
    assert checkpoint.read_text() == "epoch 1"


def test_without_a_checkpoint_nothing_is_left_behind(tmp_path):
    stash(tmp_path)
    restore(tmp_path)
    discard(tmp_path)
    assert list(tmp_path.iterdir()) == []
