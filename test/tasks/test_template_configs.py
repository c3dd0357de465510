"""The template's training configs are valid and give the published sizes."""

from pathlib import Path

import pytest
import torch

from espnet2_sv.models.build import build_network
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.tasks.transfer import SVTransferTask

CONF = Path(__file__).resolve().parents[2] / "egs2" / "TEMPLATE" / "sv1" / "conf"


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (SVTask, "scratch"),
        (SVTransferTask, "transfer"),
        (SVAdaptorTask, "adaptor"),
        (SVTransferTask, "lmft"),
        (SVTransferTask, "finetune"),
    ],
)
def test_configs_are_valid(task, name):
    args = task.get_parser().parse_args(
        ["--config", str(CONF / f"train_sv_{name}.yaml")]
    )
    assert args.loss_conf["scale"] == 32


def test_scratch_has_the_size_of_the_papers_large_conformer():
    args = SVTask.get_parser().parse_args(
        ["--config", str(CONF / "train_sv_scratch.yaml")]
    )
    args.spk_num = 2
    with torch.device("meta"):
        model = build_network(args)
    assert sum(p.numel() for p in model.backbone.parameters()) == 121_174_016
    assert sum(p.numel() for p in model.head.parameters()) == 9_502_336
