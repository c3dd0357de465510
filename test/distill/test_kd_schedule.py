import pytest

from espnet2_sv.distill.schedule import KDSchedule
from espnet2_sv.errors import SVError


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({}, [1.0, 1.0, 1.0]),
        ({"value": 0.5, "warmup_epochs": 4}, [0.125, 0.25, 0.375, 0.5, 0.5]),
        ({"decay_from": 2, "decay_epochs": 2}, [1.0, 1.0, 0.5, 0.0, 0.0]),
        ({"decay_from": 1, "final": 0.25}, [1.0, 0.25, 0.25]),
        ({"value": 2.0, "warmup_epochs": 2, "decay_from": 3, "decay_epochs": 2, "final": 1.0},
         [1.0, 2.0, 2.0, 1.5, 1.0, 1.0]),
    ],
)  # fmt: skip
def test_rises_stays_and_falls(conf, expected):
    assert [
        KDSchedule(**conf)(epoch) for epoch in range(1, len(expected) + 1)
    ] == expected


@pytest.mark.parametrize("conf", [{"value": -1}, {"final": -0.1}, {"decay_epochs": 0}])
def test_impossible_schedules_are_refused(conf):
    with pytest.raises(SVError, match="kd_schedule"):
        KDSchedule(**conf)
