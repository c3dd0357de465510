import pytest
import torch

from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.errors import SVError


def test_parameters_of_the_large_conformer():
    """The paper's large encoder in ESPnet: 18 blocks, 512-d, 8 heads, kernel 31."""
    encoder_conf = {
        "output_size": 512,
        "attention_heads": 8,
        "linear_units": 2048,
        "num_blocks": 18,
        "macaron_style": True,
        "rel_pos_type": "latest",
        "cnn_module_kernel": 31,
    }
    conf = {"encoder": "conformer", "encoder_conf": encoder_conf}
    with torch.device("meta"):
        backbone = build_backbone(
            {**conf, "frontend_conf": {}, "normalize": "utterance_mvn"}
        )
    assert sum(p.numel() for p in backbone.parameters()) == 121_174_016
    assert (backbone.num_blocks, backbone.block_dim) == (18, 512)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder": "rnn"}, "'rnn'"),
        ({"frontend": "espnet_ssl"}, "espnet_ssl"),
        ({"normalize": "global_mvn"}, "global_mvn"),
        ({"encoder_conf": {"output_size": 16, "no_such_option": 1}}, "no_such_option"),
        ({"encoder_conf": {"output_size": "wide"}}, "output_size"),
        ({"encoder_conf": {"rel_pos_type": "older"}}, "older"),
        (
            {
                "encoder_conf": {
                    "interctc_layer_idx": [1],
                    "interctc_use_conditioning": True,
                }
            },
            "conditioning_vocab",
        ),
    ],
)
def test_invalid_settings_are_rejected_with_the_reason(
    changes, reason, small_conformer
):
    with pytest.raises(SVError, match=reason) as e:
        build_backbone({**small_conformer(), "normalize": None, **changes})
    assert "\n" not in str(e.value)


def test_settings_are_not_modified(small_conformer):
    settings = {**small_conformer(), "normalize": None}
    build_backbone(settings)
    assert settings == {**small_conformer(), "normalize": None}
