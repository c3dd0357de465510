"""An ASR model loads as it was trained, whatever it is stored in, or is refused."""

import importlib.util
import sys

import asr_models
import pytest
import torch
import yaml

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.errors import SVError

SUPPORTED = [
    "aishell_conformer",
    "librispeech_100_conformer_scctc",
    "librispeech_100_conformer_transducer",
    "librispeech_conformer6_nfft512_hop256",
    "librispeech_conformer_hop160",
    "librispeech_e_branchformer",
    "owsm_v1",
    "owsm_v3",
    "owsm_v3.1_ebf",
    "owsm_v4_base",
    "owsm_ctc_v3.1",
    "owsm_ctc_v4",
    "powsm_ctc",
    "speechcommands_conformer_noctc",
    "wsj_transformer",
]
REFUSED = {
    "aishell_streaming_conformer": "streaming",
    "librispeech_100_whisper": "Whisper",
}


def encode(model, speech):
    return asr_models.encode(model, *(x.clone() for x in speech))


def old_names(state: dict) -> dict:
    """As ESPnet 202511 and earlier name the subsampling projection."""
    renamed = {}
    for name, tensor in state.items():
        renamed[name.replace("encoder.embed.out.", "encoder.embed.out.0.")] = tensor
    return renamed


@pytest.mark.parametrize("with_stats", [True, False])
@pytest.mark.parametrize("name", SUPPORTED)
def test_packed_model_equals_the_trained_one(name, with_stats, train_asr, speech):
    trained = train_asr(name)
    bundle = load_asr_bundle(trained.pack(with_stats))
    output, lengths = encode(bundle.model, speech)
    expected, expected_lengths = encode(trained.stock, speech)
    assert torch.equal(output, expected)
    assert torch.equal(lengths, expected_lengths)
    assert not bundle.model.training
    assert bundle.args.token_list == trained.stock.token_list
    decoder = {
        k: v
        for k, v in trained.stock.state_dict().items()
        if not k.startswith("normalize")
    }
    loaded = bundle.model.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in decoder.items())


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_why(name, tmp_path, published_conf):
    conf = {**published_conf(name), "token_list": ["<blank>", "a", "<sos/eos>"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(conf))
    torch.save({"x": torch.zeros(1)}, tmp_path / "latest.pth")
    with pytest.raises(SVError, match=REFUSED[name]) as e:
        load_asr_bundle(tmp_path)
    assert "\n" not in str(e.value)
    assert str(tmp_path) in str(e.value)


@pytest.mark.parametrize(
    "layer", ["conv2d", "conv2d1", "conv2d2", "conv2d6", "conv2d8"]
)
def test_both_spellings_of_the_subsampling_projection(
    layer, train_asr, small_conformer, speech
):
    trained = train_asr(small_conformer(input_layer=layer))
    expected, _ = encode(trained.stock, speech)
    new = load_asr_bundle(trained.exp)
    renamed = old_names(trained.stock.state_dict())
    assert "encoder.embed.out.0.weight" in renamed
    trained.save_weights(renamed)
    old = load_asr_bundle(trained.exp)
    torch.testing.assert_close(
        encode(old.model, speech)[0], expected, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        encode(new.model, speech)[0], expected, rtol=0, atol=1e-6
    )
    assert old.weights_sha256 == new.weights_sha256


@pytest.mark.parametrize("normalize", ["utterance_mvn", None])
def test_other_normalisation(normalize, train_asr, small_conformer, speech):
    trained = train_asr(
        {**small_conformer(), "normalize": normalize, "normalize_conf": {}}
    )
    bundle = load_asr_bundle(trained.exp)
    assert torch.equal(
        encode(bundle.model, speech)[0], encode(trained.stock, speech)[0]
    )


def test_hash_is_of_the_weights_alone(train_asr, small_conformer):
    trained = train_asr(small_conformer())
    packed = load_asr_bundle(trained.pack()).weights_sha256
    assert load_asr_bundle(trained.exp).weights_sha256 == packed
    state = trained.stock.state_dict()
    state["encoder.after_norm.bias"][0] += 1e-3
    trained.save_weights(state)
    assert load_asr_bundle(trained.exp).weights_sha256 != packed


def test_missing_tensor_is_an_error(train_asr, small_conformer):
    trained = train_asr(small_conformer())
    state = trained.stock.state_dict()
    del state["encoder.encoders.1.norm_ff.weight"]
    trained.save_weights(state)
    with pytest.raises(
        SVError, match=r"do not fit.*missing.*encoders\.1\.norm_ff\.weight"
    ):
        load_asr_bundle(trained.exp)


def test_extra_tensor_is_an_error(train_asr, small_conformer):
    trained = train_asr(small_conformer())
    trained.save_weights(
        {**trained.stock.state_dict(), "encoder.extra": torch.zeros(2)}
    )
    with pytest.raises(SVError, match=r"do not fit.*unexpected encoder\.extra"):
        load_asr_bundle(trained.exp)


def test_tensor_of_another_shape_is_an_error(train_asr, small_conformer):
    trained = train_asr(small_conformer())
    state = trained.stock.state_dict()
    state["encoder.after_norm.bias"] = torch.zeros(5)
    trained.save_weights(state)
    with pytest.raises(SVError, match="after_norm") as e:
        load_asr_bundle(trained.exp)
    assert "\n" not in str(e.value)


def test_unused_decoder_that_old_versions_kept(train_asr, small_conformer, speech):
    trained = train_asr(small_conformer())
    assert trained.stock.decoder is None
    trained.save_weights(
        {**trained.stock.state_dict(), "decoder.embed.weight": torch.zeros(2, 2)}
    )
    bundle = load_asr_bundle(trained.exp)
    assert torch.equal(
        encode(bundle.model, speech)[0], encode(trained.stock, speech)[0]
    )


def test_transducer_needs_its_loss_in_training_only(train_asr):
    if importlib.util.find_spec("warprnnt_pytorch"):
        pytest.skip("warprnnt_pytorch is installed")
    bundle = load_asr_bundle(train_asr("librispeech_100_conformer_transducer").exp)
    assert "warprnnt_pytorch" not in sys.modules
    with pytest.raises(SVError, match="warprnnt_pytorch"):
        bundle.model.criterion_transducer(None)


def test_settings_of_older_versions(train_asr, small_conformer, speech):
    trained = train_asr(small_conformer())
    for key in (
        "preencoder",
        "preencoder_conf",
        "model",
        "use_adapter",
        "joint_net_conf",
    ):
        trained.conf.pop(key, None)
    trained.save_config(init="chainer", specaug_conf=None)
    bundle = load_asr_bundle(trained.exp)
    assert torch.equal(
        encode(bundle.model, speech)[0], encode(trained.stock, speech)[0]
    )


def test_settings_that_this_version_lacks(train_asr, small_conformer):
    trained = train_asr(small_conformer())
    trained.save_config(encoder_conf={**trained.conf["encoder_conf"], "warp_factor": 9})
    with pytest.raises(SVError, match="warp_factor") as e:
        load_asr_bundle(trained.exp)
    assert "\n" not in str(e.value)


def test_token_list_in_a_file(train_asr, small_conformer):
    trained = train_asr(small_conformer())
    (trained.root / "data").mkdir()
    tokens = trained.stock.token_list
    (trained.root / "data" / "tokens.txt").write_text("".join(f"{t}\n" for t in tokens))
    trained.save_config(token_list="data/tokens.txt")
    assert load_asr_bundle(trained.exp).args.token_list == tokens


def test_bpe_model_is_found_in_the_archive(train_asr):
    trained = train_asr("librispeech_conformer_hop160")
    bundle = load_asr_bundle(trained.pack())
    with open(bundle.args.bpemodel, "rb") as stream:
        assert stream.read() == b"a sentencepiece model"


def test_summary(train_asr):
    trained = train_asr("librispeech_e_branchformer")
    summary = load_asr_bundle(trained.exp).summary()
    assert summary == {
        "task": "asr",
        "encoder": "e_branchformer",
        "blocks": 3,
        "dim": 16,
        "subsampling": 4,
        "sample_rate": 16000,
        "hop_length": 160,
        "frame_rate_hz": 25.0,
        "vocab": 12,
        "has_ctc": True,
        "encoder_parameters": sum(
            p.numel() for p in trained.stock.encoder.parameters()
        ),
    }


def test_summary_without_ctc(train_asr):
    assert not load_asr_bundle(
        train_asr("speechcommands_conformer_noctc").exp
    ).summary()["has_ctc"]


MASK_DECODER = {"num_blocks": 1, "linear_units": 8, "attention_heads": 2}
TRANSDUCER = {
    "transducer_multi_blank_durations": [4, 2],
    "report_cer": False,
    "report_wer": False,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "maskctc", "decoder": "mlm", "decoder_conf": MASK_DECODER},
        {"decoder": "rnn", "decoder_conf": {"hidden_size": 8}},
        {
            "postencoder": "length_adaptor",
            "postencoder_conf": {"length_adaptor_n_layers": 1},
        },
        {
            "decoder": "transducer",
            "decoder_conf": {"hidden_size": 8},
            "joint_net_conf": {"joint_space_size": 8},
            "model_conf": {"ctc_weight": 0.3, **TRANSDUCER},
        },
    ],
)
def test_whatever_follows_the_encoder(changes, train_asr, small_conformer, speech):
    conf = {**small_conformer(), **changes}
    if conf["decoder"] in ("mlm", "rnn"):
        conf["model_conf"] = {"ctc_weight": 0.3}
    trained = train_asr(conf)
    bundle = load_asr_bundle(trained.pack())
    assert torch.equal(
        encode(bundle.model, speech)[0], encode(trained.stock, speech)[0]
    )


@pytest.mark.parametrize("value", ["/home/ann/stats.npz", "../stats.npz"])
def test_statistics_file_is_never_opened(value, train_asr, small_conformer, speech):
    """Mean and deviation come from the weights, not from training's files."""
    trained = train_asr(small_conformer())
    trained.save_config(normalize_conf={"stats_file": value})
    bundle = load_asr_bundle(trained.pack())
    assert torch.equal(
        encode(bundle.model, speech)[0], encode(trained.stock, speech)[0]
    )
