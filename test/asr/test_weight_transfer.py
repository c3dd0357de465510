import pytest
import torch

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.errors import SVError


@pytest.mark.parametrize(
    "name",
    [
        "aishell_conformer",
        "librispeech_100_conformer_scctc",
        "librispeech_100_conformer_transducer",
        "librispeech_e_branchformer",
        "owsm_v3.1_ebf",
        "owsm_v4_base",
        "owsm_ctc_v4",
        "powsm_ctc",
        "speechcommands_conformer_noctc",
        "wsj_transformer",
    ],
)
def test_everything_is_copied(name, train_asr):
    trained = train_asr(name)
    bundle = load_asr_bundle(trained.exp)
    backbone = build_backbone(backbone_settings(bundle.args))
    report = copy_asr_weights(bundle, backbone)
    state = backbone.state_dict()
    assert report.copied == report.expected == len(state)
    assert report.copied_parameters == sum(p.numel() for p in backbone.parameters())
    assert report.missing == report.unexpected == []
    stock = trained.stock.state_dict()
    for part in ("frontend.", "normalize.", "encoder."):
        for key in (key for key in stock if key.startswith(part)):
            assert torch.equal(state[key], stock[key].to(state[key].dtype)), key


def test_first_blocks_only(train_asr, small_conformer):
    bundle = load_asr_bundle(train_asr(small_conformer()).exp)
    backbone = build_backbone(backbone_settings(bundle.args, num_blocks=2))
    report = copy_asr_weights(bundle.model, backbone)
    assert report.copied == report.expected
    assert report.copied_parameters == sum(p.numel() for p in backbone.parameters())


@pytest.mark.parametrize(
    ("changes", "example"),
    [
        ({"linear_units": 40}, "feed_forward"),  # another shape
        ({"macaron_style": False}, "feed_forward_macaron"),  # too little
        ({"num_blocks": 4}, r"encoders\.3"),  # too much
    ],
)
def test_anything_less_is_an_error_and_copies_nothing(
    changes, example, train_asr, small_conformer
):
    bundle = load_asr_bundle(train_asr(small_conformer()).exp)
    settings = backbone_settings(bundle.args)
    settings["encoder_conf"].update(changes)
    backbone = build_backbone(settings)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(SVError, match=example):
        copy_asr_weights(bundle, backbone)
    after = backbone.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_report_reads_as_a_sentence(train_asr, small_conformer):
    bundle = load_asr_bundle(train_asr(small_conformer()).exp)
    report = copy_asr_weights(bundle, build_backbone(backbone_settings(bundle.args)))
    assert f"copied {report.copied} of {report.copied} tensors" in str(report)
