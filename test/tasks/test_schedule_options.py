import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.tasks.checks import check_schedules
from espnet2_sv.tasks.sv import SVTask


def check(*options: str) -> None:
    check_schedules(SVTask.get_parser().parse_args(options))


def test_valid_schedules_are_accepted():
    check("--lr_schedule", "warmup_steps=10", "--margin_schedule", "to_epoch=3")
    check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr_schedule", "warmup=10"], "warmup"),
        (["--margin_schedule", "until=10"], "until"),
        (["--lr_schedule", "final=2"], "final"),
        (
            ["--lr_schedule", "final=0", "--scheduler", "warmuplr"],
            "warmuplr: give only one",
        ),
    ],
)
def test_an_error_names_the_invalid_schedule(options, message):
    with pytest.raises(SVError, match=message):
        check(*options)
