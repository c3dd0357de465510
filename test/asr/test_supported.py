import argparse
from pathlib import Path

import pytest
import yaml

from espnet2_sv.asr.supported import backbone_settings, check_supported
from espnet2_sv.errors import SVError


@pytest.fixture
def asr_args(small_conformer):
    def make(encoder_conf=None, **changes):
        conf = small_conformer(**(encoder_conf or {}))
        conf |= {"token_list": ["<blank>", "a", "<sos/eos>"], **changes}
        return argparse.Namespace(**conf)

    return make


def test_all_published_settings_are_sorted(published_conf):
    """What each published model's file says of itself is what happens."""
    for path in (Path(__file__).parent / "published").glob("*.yaml"):
        args = argparse.Namespace(**published_conf(path.stem))
        if "# refused:" in path.read_text():
            with pytest.raises(SVError):
                check_supported(args)
        else:
            check_supported(args)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder": "contextual_block_transformer"}, "streaming"),
        ({"encoder": "vgg_rnn"}, "recurrent"),
        ({"encoder": "longformer"}, "attention windows"),
        ({"encoder": "wav2vec2"}, "self-supervised"),
        ({"encoder": "whisper"}, "Whisper"),
        ({"encoder": "an_encoder_of_tomorrow"}, "an_encoder_of_tomorrow"),
        ({"encoder": None}, "None"),
        ({"frontend": "espnet_ssl"}, "checkpoint of its own"),
        ({"frontend": "fused"}, "several front ends"),
        ({"frontend": None, "input_size": 83}, "outside the model"),
        ({"frontend_conf": {"apply_stft": False}}, "spectrum"),
        ({"preencoder": "sinc"}, "preencoder"),
        ({"model": "pit_espnet"}, "several speakers"),
        ({"use_adapter": True}, "LoRA"),
        ({"decoder": "hugging_face_transformers"}, "downloads"),
        ({"postencoder": "hugging_face_transformers"}, "downloads"),
        ({"encoder_conf": {"input_layer": "embed"}}, "tokens"),
        (
            {"encoder_conf": {"ctc_trim": True, "interctc_layer_idx": [1]}},
            "drops frames",
        ),
        ({"normalize": "batch_norm"}, "batch_norm"),
    ],
)
def test_refusals(changes, reason, asr_args):
    with pytest.raises(SVError, match=reason) as e:
        check_supported(asr_args(**changes))
    assert "\n" not in str(e.value)


def test_settings_are_plain_data_without_files(asr_args):
    args = asr_args(normalize_conf={"stats_file": "exp/stats.npz", "norm_vars": False})
    settings = backbone_settings(args)
    assert yaml.safe_load(yaml.safe_dump(settings)) == settings
    assert settings["normalize"] == "stored_mvn"
    assert settings["normalize_conf"] == {
        "dim": 80,
        "norm_means": True,
        "norm_vars": False,
    }
    assert "stats" not in yaml.safe_dump(settings)


def test_settings_do_not_share_with_the_arguments(asr_args):
    args = asr_args()
    backbone_settings(args)["encoder_conf"]["output_size"] = 99
    assert args.encoder_conf["output_size"] == 16


def test_first_blocks_only(asr_args):
    args = asr_args({"stochastic_depth_rate": [0.1, 0.2, 0.3]})
    conf = backbone_settings(args, num_blocks=2)["encoder_conf"]
    assert conf["num_blocks"] == 2
    assert conf["stochastic_depth_rate"] == [0.1, 0.2]
    assert args.encoder_conf["num_blocks"] == 3


@pytest.mark.parametrize("num_blocks", [0, 4])
def test_more_blocks_than_there_are(num_blocks, asr_args):
    with pytest.raises(SVError, match="1 to 3"):
        backbone_settings(asr_args(), num_blocks=num_blocks)


def test_number_of_blocks_that_the_configuration_leaves_out(asr_args):
    args = asr_args({"num_blocks": None})
    assert (
        backbone_settings(args)["encoder_conf"]["num_blocks"] == 6
    )  # ESPnet's default


@pytest.mark.parametrize(
    ("layers", "num_blocks", "kept"),
    [([1, 2], None, [1, 2]), ([1, 2], 2, [1]), ([2], 2, None), ([1], 1, None)],
)
def test_conditioning_that_no_kept_block_hears_is_left_out(
    layers, num_blocks, kept, asr_args
):
    args = asr_args({"interctc_layer_idx": layers, "interctc_use_conditioning": True})
    settings = backbone_settings(args, num_blocks)
    assert settings["encoder_conf"].get("interctc_layer_idx") == kept
    assert settings["conditioning_vocab"] == (3 if kept else None)
