import pytest
import torch

from espnet2.schedulers.abs_scheduler import (
    AbsBatchStepScheduler,
    AbsEpochStepScheduler,
)
from espnet2_sv.errors import SVError
from espnet2_sv.train.lr_schedule import CosineSchedule, ScheduledLR


def optimizer() -> torch.optim.Optimizer:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [weights[0]], "lr": 1.0}, {"params": [weights[1]], "lr": 0.1}]
    return torch.optim.SGD(groups, lr=1.0)


def rates(optim, scheduler, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in optim.param_groups])
        optim.step()
        scheduler.step()
    return found


def test_decay_equals_torchs_cosine_for_each_group():
    cosine, reference = optimizer(), optimizer()
    expected = rates(
        reference, torch.optim.lr_scheduler.CosineAnnealingLR(reference, 10), 10
    )
    # PyTorch's first step has the full rate, that of ScheduledLR has the next one
    found = rates(
        cosine, ScheduledLR(cosine, CosineSchedule().with_default_steps(10)), 9
    )
    assert found == [pytest.approx(pair) for pair in expected[1:]]


def test_warms_up_decays_and_stays_constant():
    optim = optimizer()
    schedule = CosineSchedule(warmup_steps=4, total_steps=8, final=0.1)
    found = [pair[0] for pair in rates(optim, ScheduledLR(optim, schedule), 11)]
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[5] == pytest.approx(0.55)  # halfway
    assert found[7:] == pytest.approx([0.1] * 4)


def test_resumes_where_it_stopped_and_follows_a_new_length():
    whole = optimizer()
    expected = rates(
        whole, ScheduledLR(whole, CosineSchedule(2).with_default_steps(9)), 9
    )
    first = optimizer()
    scheduler = ScheduledLR(first, CosineSchedule(2).with_default_steps(5))
    rates(first, scheduler, 5)
    second = optimizer()
    resumed = ScheduledLR(second, CosineSchedule(2).with_default_steps(9))
    second.load_state_dict(first.state_dict())  # as ESPnet's trainer does
    resumed.load_state_dict(scheduler.state_dict())
    assert rates(second, resumed, 4) == [pytest.approx(pair) for pair in expected[5:]]


def test_explicit_total_steps_are_kept():
    assert CosineSchedule(total_steps=7).with_default_steps(100).total_steps == 7


def test_espnet_steps_it_after_every_batch():
    scheduler = ScheduledLR(optimizer(), CosineSchedule().with_default_steps(2))
    assert isinstance(scheduler, AbsBatchStepScheduler)
    assert not isinstance(scheduler, AbsEpochStepScheduler)


@pytest.mark.parametrize(
    "conf",
    [{"warmup_steps": -1}, {"final": 1.5}, {"warmup_steps": 8, "total_steps": 8}],
)
def test_invalid_schedules_are_rejected(conf):
    with pytest.raises(SVError, match="lr_schedule"):
        CosineSchedule(**conf)
