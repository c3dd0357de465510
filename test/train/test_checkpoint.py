import pytest

from espnet2_sv.train.checkpoint import (
    CHECKPOINT,
    forget,
    has_checkpoint,
    put_back,
    set_aside,
)


@pytest.mark.parametrize("what_the_kill_left", [None, "half a file"])
def test_a_kill_in_an_epoch_leaves_the_last_good_checkpoint(tmp_path, what_the_kill_left):
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_text("epoch 1")
    set_aside(tmp_path)
    if what_the_kill_left:
        checkpoint.write_text(what_the_kill_left)
    put_back(tmp_path)
    assert checkpoint.read_text() == "epoch 1"


def test_a_run_that_ended_well_keeps_only_its_last_checkpoint(tmp_path):
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_text("epoch 1")
    set_aside(tmp_path)
    checkpoint.write_text("epoch 2")
    forget(tmp_path)
    put_back(tmp_path)
    assert checkpoint.read_text() == "epoch 2"
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize("what_the_kill_left", [None, "", "half a file"])
def test_a_kill_in_the_first_epoch_leaves_nothing_to_resume(tmp_path, what_the_kill_left):
    checkpoint = tmp_path / CHECKPOINT
    set_aside(tmp_path)
    if what_the_kill_left is not None:
        checkpoint.write_text(what_the_kill_left)
    assert not has_checkpoint(tmp_path)
    put_back(tmp_path)
    assert list(tmp_path.iterdir()) == []
    set_aside(tmp_path)
    checkpoint.write_text("epoch 1")
    set_aside(tmp_path)
    assert has_checkpoint(tmp_path)
    put_back(tmp_path)
    assert checkpoint.read_text() == "epoch 1"


def test_nothing_to_protect_before_the_first_epoch(tmp_path):
    set_aside(tmp_path)
    put_back(tmp_path)
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
