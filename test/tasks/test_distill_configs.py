"""The students of the template: sizes and training configs."""

import argparse
from pathlib import Path

import pytest
import torch
import yaml

from espnet2_sv.distill.kd_loss import DistillationLoss, KDSchedule
from espnet2_sv.models.build import build_network
from espnet2_sv.models.build_distill import count_parameters as count
from espnet2_sv.tasks.distill import SVDistillTask

EGS = Path(__file__).resolve().parents[2] / "egs2"
CONF = EGS / "TEMPLATE" / "sv1" / "conf"
MINI = EGS / "mini_an4" / "sv1" / "conf"


def read(name: str) -> argparse.Namespace:
    conf = yaml.safe_load((CONF / f"train_sv_distill_{name}.yaml").read_text())
    defaults = SVDistillTask.get_default_config()
    assert not set(conf) - set(defaults)
    return argparse.Namespace(**defaults | conf | {"spk_num": 2})


@pytest.mark.parametrize(
    ("name", "millions", "rate"),
    [
        ("halfsmall", (8.65, 8.95), 50.0),  # published: about 8.7 to 8.9
        ("small", (15.8, 15.9), 25.0),
        ("ecapa", (6.1, 6.3), 100.0),  # published: 6.2 with 512 channels
        ("resnet34", (6.6, 6.7), 12.5),  # published: 6.6
    ],
)
def test_students_have_their_published_sizes(name, millions, rate):
    args = read(name)
    with torch.device("meta"):
        model = build_network(args)
    assert millions[0] <= count(model.backbone, model.head) / 1e6 <= millions[1]
    assert model.backbone.frame_rate_hz == rate


@pytest.mark.parametrize("name", ["halfsmall", "small", "ecapa", "resnet34"])
def test_schedules_reach_their_end_with_the_training(name):
    args = read(name)
    assert DistillationLoss(**args.kd_conf).top_k == 32
    factor = KDSchedule(**args.kd_schedule)
    assert 0 < factor(1) <= factor(2) == factor(args.max_epoch) == 1.0
    assert (
        args.scheduler_conf["first_cycle_steps"]
        == args.max_epoch * args.num_iters_per_epoch
    )


@pytest.mark.parametrize(
    "path", sorted(MINI.glob("train_sv_distill*.yaml")), ids=lambda p: p.stem
)
def test_the_mini_recipes_configs_are_valid(path):
    conf = yaml.safe_load(path.read_text())
    defaults = SVDistillTask.get_default_config()
    assert not set(conf) - set(defaults)
    args = argparse.Namespace(**defaults | conf | {"spk_num": 2})
    if args.init_asr is None:  # otherwise the ASR model determines the encoder
        with torch.device("meta"):
            build_network(args)
