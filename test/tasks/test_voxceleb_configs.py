"""The VoxCeleb recipe's configs are valid and have the sizes in their comments."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from espnet2_sv.models.build import build_network
from espnet2_sv.models.build_distill import count_parameters as count
from espnet2_sv.tasks import get_task
from espnet2_sv.tasks.checks import check_schedules
from espnet2_sv.train.lr_schedule import CosineSchedule
from espnet2_sv.train.margin_schedule import MarginSchedule

CONF = Path(__file__).resolve().parents[2] / "egs2" / "voxceleb" / "sv1" / "conf"
# train_sv_distill_ecapa.yaml
NAME = re.compile(r"train_sv_(?P<task>[a-z]+)\w*\.yaml")
SIZE = re.compile(r"(?P<count>[\d,]+) parameters")
CONFIGS = sorted(CONF.glob("train_sv_*.yaml"))
BUILT = [
    path
    for path in CONFIGS
    if NAME.fullmatch(path.name)["task"] in ("scratch", "distill")
]


def read(path: Path, *options: str):
    task = NAME.fullmatch(path.name)["task"]
    parser = get_task("transfer" if task == "lmft" else task).get_parser()
    return parser.parse_args(["--config", str(path), *options])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_parses_and_starts_with_its_command(path):
    args = read(path)
    check_schedules(args)
    assert args.loss_conf["scale"] == 32
    task = NAME.fullmatch(path.name)["task"]
    default = path.name == f"train_sv_{task}.yaml" and task != "lmft"
    command = path.read_text().splitlines()[1]
    assert command.startswith("#   ./run.sh --sv_task ")
    assert default or f"conf/{path.name}" in command
    lists = [
        entry["scp"]
        for entry in [*args.augment_conf["noise"], args.augment_conf["rir"]]
    ]
    names = ["musan_noise", "musan_music", "musan_speech", "rirs"]
    assert lists == [f"data/{name}.scp" for name in names]


@pytest.mark.parametrize("path", BUILT, ids=lambda p: p.stem)
def test_parameter_count_equals_that_in_the_comment(path):
    args = read(path)
    args.spk_num = 2
    with torch.device("meta"):
        model = build_network(args)
    stated = int(SIZE.search(path.read_text())["count"].replace(",", ""))
    assert count(model.backbone, model.head) == stated


@pytest.mark.parametrize(
    "path", [p for p in CONFIGS if "lmft" not in p.name], ids=lambda p: p.stem
)
def test_schedules_end_within_the_training(path):
    args = read(path)
    steps = args.max_epoch * args.num_iters_per_epoch
    rate = CosineSchedule(**args.lr_schedule).with_default_steps(steps)
    margin = MarginSchedule(**args.margin_schedule)
    assert rate(args.lr_schedule["warmup_steps"]) == 1
    assert rate(rate.total_steps) == pytest.approx(0.01)
    assert margin(1, 0.2) < margin(args.max_epoch // 2, 0.2) == 0.2
    assert args.speed_perturb_factors == [0.9, 1.0, 1.1]


@pytest.mark.parametrize(
    "path", sorted(CONF.glob("tuning/*.args")), ids=lambda p: p.stem
)
def test_every_line_of_tuning_options_changes_the_training(path):
    configs = [p for p in CONFIGS if p.name.startswith(f"train_sv_{path.stem}")]
    plain = vars(read(configs[0]))
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) > 5
    found = [vars(read(configs[0], *shlex.split(line))) for line in lines]
    assert all(args != plain for args in found)
