import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.train.options import check_schedules


def check(*options: str) -> None:
    check_schedules(SVTask.get_parser().parse_args(options))


def test_understands_schedules():
    check("--lr_schedule", "warmup_steps=10", "--margin_schedule", "to_epoch=3")
    check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr_schedule", "warmup=10"], "warmup"),
        (["--margin_schedule", "until=10"], "until"),
        (["--lr_schedule", "final=2"], "final"),
        (["--lr_schedule", "final=0", "--scheduler", "warmuplr"], "warmuplr: give one"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(SVError, match=message):
        check(*options)
