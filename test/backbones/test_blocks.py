"""Block outputs compared with ESPnet's, freezing and parameter groups."""

import copy
import pickle

import pytest
import torch

from espnet2.asr.specaug.specaug import SpecAug
from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.errors import SVError

WITH_HIDDEN_STATES = [
    "aishell_conformer",
    "librispeech_100_conformer_transducer",
    "librispeech_conformer6_nfft512_hop256",
    "librispeech_conformer_hop160",
    "librispeech_e_branchformer",
    "owsm_v3.1_ebf",
    "owsm_v4_base",
    "speechcommands_conformer_noctc",
    "wsj_transformer",
]
SELF_CONDITIONED = {"interctc_layer_idx": [1, 2], "interctc_use_conditioning": True}
BRANCHFORMER = {
    "output_size": 16,
    "attention_heads": 2,
    "cgmlp_linear_units": 32,
    "cgmlp_conv_kernel": 7,
    "num_blocks": 3,
}


def backbone_of(trained, num_blocks=None, **options):
    bundle = load_asr_bundle(trained.exp)
    backbone = build_backbone(backbone_settings(bundle.args, num_blocks), **options)
    copy_asr_weights(bundle, backbone)
    return backbone.eval()


def stock_features(model, audio, lengths):
    feats, lengths = model.frontend(audio.clone(), lengths)
    return (
        (feats, lengths) if model.normalize is None else model.normalize(feats, lengths)
    )


def stock_blocks(model, audio, lengths):
    """Reference implementation of an encoder's forward pass with block outputs."""
    encoder = model.encoder
    feats, lengths = stock_features(model, audio, lengths)
    mask = (
        torch.arange(feats.size(1)).expand(len(feats), 1, -1) < lengths[:, None, None]
    )
    hidden, mask = encoder.embed(feats, mask)
    outputs = []
    for depth, block in enumerate(encoder.encoders, start=1):
        hidden, mask = block(hidden, mask)
        x, position = hidden if isinstance(hidden, tuple) else (hidden, None)
        outputs.append(x)
        if (
            depth in getattr(encoder, "interctc_layer_idx", [])
            and encoder.conditioning_layer
        ):
            is_e_branchformer = type(encoder).__name__ == "EBranchformerEncoder"
            posterior = model.ctc.softmax(
                x if is_e_branchformer else encoder.after_norm(x)
            )
            x = x + encoder.conditioning_layer(posterior)
            hidden = x if position is None else (x, position)
    return outputs, mask.sum((1, 2))


def assert_same_blocks(outputs, expected):
    assert len(outputs) == len(expected) == 3
    for output, reference in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", WITH_HIDDEN_STATES)
def test_equals_the_hidden_states_of_espnets_encoder(name, train_asr, speech):
    trained = train_asr(name)
    audio = speech[0]
    lengths = torch.tensor([12000, 12000])
    with torch.no_grad():
        outputs, output_lengths = backbone_of(trained)(audio, lengths)
        feats, feats_lengths = stock_features(trained.stock, audio, lengths)
        (_, expected), expected_lengths, _ = trained.stock.encoder(
            feats, feats_lengths, return_all_hs=True
        )
    assert_same_blocks(outputs, expected)
    assert torch.equal(output_lengths, expected_lengths)


@pytest.mark.parametrize(
    ("encoder", "encoder_conf"),
    [
        ("conformer", SELF_CONDITIONED),
        ("conformer", {"interctc_layer_idx": [1]}),
        ("conformer", {"layer_drop_rate": 0.9}),
        ("conformer", {"normalize_before": False}),
        ("conformer", {"input_layer": "conv2d6"}),
        ("transformer", SELF_CONDITIONED),
        ("e_branchformer", {**BRANCHFORMER, **SELF_CONDITIONED}),
        ("branchformer", BRANCHFORMER),
        ("multiconv_conformer", {"cgmlp_linear_units": 32, "multicgmlp_type": "sum"}),
    ],
)
def test_equals_a_reference_implementation_of_the_encoder(
    encoder, encoder_conf, train_asr, small_conformer
):
    only_conformer = ("rel_pos_type", "cnn_module_kernel", "macaron_style")
    conf = small_conformer(**encoder_conf)
    if encoder.endswith("branchformer"):
        conf["encoder_conf"] = dict(encoder_conf)
    elif encoder != "conformer":
        for key in only_conformer[1 if encoder == "multiconv_conformer" else 0 :]:
            conf["encoder_conf"].pop(key, None)
    trained = train_asr({**conf, "encoder": encoder})
    audio, lengths = torch.randn(2, 9000), torch.tensor([9000, 9000])
    backbone = backbone_of(trained)
    with torch.no_grad():
        outputs, output_lengths = backbone(audio, lengths)
        expected, expected_lengths = stock_blocks(trained.stock, audio, lengths)
        first = [backbone.first_blocks(n)(audio, lengths) for n in (1, 2, 3)]
        again, _ = backbone(audio, lengths)
    assert_same_blocks(outputs, expected)
    assert torch.equal(output_lengths, expected_lengths)
    for count, (blocks, valid) in enumerate(first, start=1):  # early exit
        assert len(blocks) == count
        assert all(map(torch.equal, blocks, outputs))
        assert torch.equal(valid, output_lengths)
    assert all(map(torch.equal, again, outputs))


def test_equals_the_reference_for_a_published_self_conditioned_model(train_asr, speech):
    trained = train_asr("librispeech_100_conformer_scctc")
    lengths = torch.tensor([12000, 12000])
    with torch.no_grad():
        outputs, _ = backbone_of(trained)(speech[0], lengths)
        expected, _ = stock_blocks(trained.stock, speech[0], lengths)
    assert_same_blocks(outputs, expected)


@pytest.mark.parametrize("num_blocks", [1, 2])
@pytest.mark.parametrize("conf", [{}, SELF_CONDITIONED])
def test_first_blocks_do_not_depend_on_later_blocks(
    conf, num_blocks, train_asr, small_conformer
):
    trained = train_asr(small_conformer(**conf))
    audio, lengths = torch.randn(1, 9000), torch.tensor([9000])
    with torch.no_grad():
        expected, _ = backbone_of(trained)(audio, lengths)
        outputs, _ = backbone_of(trained, num_blocks)(audio, lengths)
    assert len(outputs) == num_blocks
    for output, reference in zip(outputs, expected, strict=False):
        assert torch.equal(output, reference)


@pytest.mark.parametrize(
    "name", ["librispeech_conformer_hop160", "librispeech_e_branchformer"]
)
# Shorter by more and by less than half an STFT window
@pytest.mark.parametrize("shorter", [7777, 11900])
def test_outputs_do_not_depend_on_the_batch(name, shorter, train_asr):
    backbone = backbone_of(train_asr(name))
    assert not backbone.padding_sensitive
    audio = 0.1 * torch.randn(2, 12000)
    unbatched_audio = audio[1:, :shorter].clone()
    audio[1, shorter:] = 0
    with torch.no_grad():
        batched, lengths = backbone(audio, torch.tensor([12000, shorter]))
        unbatched, unbatched_lengths = backbone(
            unbatched_audio, torch.tensor([shorter])
        )
        longest, _ = backbone(audio[:1], torch.tensor([12000]))
    assert lengths[1] == unbatched_lengths[0]
    for i in range(3):
        valid = batched[i][1:, : lengths[1]]
        # Relative to the largest output: rounding errors grow with it and differ
        # between CPUs.
        torch.testing.assert_close(
            valid, unbatched[i], rtol=0, atol=1e-5 * unbatched[i].abs().max()
        )
        torch.testing.assert_close(
            batched[i][:1], longest[i], rtol=0, atol=1e-5 * longest[i].abs().max()
        )


def test_padding_does_not_influence_outputs(train_asr, small_conformer):
    backbone = backbone_of(train_asr(small_conformer()))
    audio, lengths = torch.randn(2, 12000), torch.tensor([12000, 7000])
    silent = audio.clone()
    silent[1, 7000:] = 0
    with torch.no_grad():
        noisy, frames = backbone(audio, lengths)
        clean, _ = backbone(silent, lengths)
    assert torch.equal(noisy[-1][1, : frames[1]], clean[-1][1, : frames[1]])


@pytest.mark.parametrize(
    ("conf", "depends"),
    [
        ({}, False),
        ({"rel_pos_type": "legacy"}, True),
        ({"rel_pos_type": None}, True),
        ({"positionwise_layer_type": "conv1d"}, True),
        (
            {"pos_enc_layer_type": "abs_pos", "selfattention_layer_type": "selfattn"},
            False,
        ),
    ],
)
def test_padding_sensitive_matches_the_outputs(
    conf, depends, train_asr, small_conformer
):
    backbone = backbone_of(train_asr(small_conformer(**conf)))
    audio = torch.randn(2, 12000)
    with torch.no_grad():
        batched, lengths = backbone(audio, torch.tensor([12000, 7000]))
        unbatched, _ = backbone(audio[1:, :7000], torch.tensor([7000]))
    difference = (batched[-1][1, : lengths[1]] - unbatched[-1][0]).abs().max()
    assert (difference > 1e-5) == depends
    assert backbone.padding_sensitive == depends


@pytest.mark.parametrize(
    ("layer", "factor"),
    [
        ("conv2d", 4),
        ("conv2d1", 1),
        ("conv2d2", 2),
        ("conv2d6", 6),
        ("conv2d8", 8),
        ("linear", 1),
    ],
)
def test_frame_rate_matches_the_output(layer, factor, small_conformer):
    conf = {**small_conformer(input_layer=layer), "normalize": None}
    backbone = build_backbone(conf)
    assert backbone.subsampling == factor
    assert backbone.frame_rate_hz == 100 / factor
    seconds = 8
    with torch.no_grad():
        _, lengths = backbone(
            torch.randn(1, 16000 * seconds), torch.tensor([16000 * seconds])
        )
    assert lengths[0] / seconds == pytest.approx(100 / factor, rel=0.03)


@pytest.mark.parametrize("layer", ["conv2d", "conv2d1", "conv2d8", "linear"])
@pytest.mark.parametrize("center", [True, False])
def test_minimum_samples_is_the_shortest_accepted_audio(layer, center, small_conformer):
    conf = {**small_conformer(input_layer=layer), "normalize": "utterance_mvn"}
    conf["frontend_conf"]["center"] = center
    backbone = build_backbone(conf).eval()
    shortest = backbone.minimum_samples
    with torch.no_grad():
        _, lengths = backbone(torch.randn(1, shortest), torch.tensor([shortest]))
        assert lengths[0] >= 1
        with pytest.raises(SVError, match=f"{shortest - 1} samples is too short"):
            backbone(torch.randn(2, 9000), torch.tensor([9000, shortest - 1]))


def test_a_frozen_backbone_does_not_change(train_asr, small_conformer):
    backbone = backbone_of(train_asr(small_conformer()))
    audio, lengths = torch.randn(2, 9000), torch.tensor([9000, 9000])
    before = copy.deepcopy(backbone.state_dict())
    with torch.no_grad():
        expected, _ = backbone(audio, lengths)
    backbone.set_frozen(True)
    backbone.train()
    outputs, _ = backbone(audio, lengths)
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(x.requires_grad for x in outputs)
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
    after = backbone.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_unfreezing_restores_training(train_asr, small_conformer):
    backbone = backbone_of(train_asr(small_conformer()))
    backbone.set_frozen(True)
    backbone.train()
    backbone.set_frozen(False)
    assert backbone.training
    statistics = backbone.encoder.encoders[0].conv_module.norm.running_mean.clone()
    outputs, _ = backbone(torch.randn(2, 9000), torch.tensor([9000, 9000]))
    sum(x.square().mean() for x in outputs).backward()
    assert not torch.equal(
        backbone.encoder.encoders[0].conv_module.norm.running_mean, statistics
    )


@pytest.mark.parametrize(
    ("encoder", "encoder_conf"),
    [
        ("conformer", {}),
        ("conformer", SELF_CONDITIONED),
        ("e_branchformer", {**BRANCHFORMER, **SELF_CONDITIONED}),
    ],
)
def test_every_trainable_parameter_gets_a_gradient(
    encoder, encoder_conf, small_conformer
):
    """DistributedDataParallel waits for the gradients of all trainable parameters."""
    conf = small_conformer(**encoder_conf)
    if encoder == "e_branchformer":
        conf["encoder_conf"] = dict(encoder_conf)
    vocab = 12 if "interctc_layer_idx" in encoder_conf else None
    backbone = build_backbone(
        {**conf, "encoder": encoder, "normalize": None, "conditioning_vocab": vocab}
    )
    outputs, _ = backbone.train()(torch.randn(2, 9000), torch.tensor([9000, 9000]))
    sum((x * torch.randn_like(x)).sum() for x in outputs).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name


def test_parameter_groups_contain_each_trainable_parameter_once(small_conformer):
    conf = small_conformer(**SELF_CONDITIONED)
    backbone = build_backbone({**conf, "normalize": None, "conditioning_vocab": 12})
    groups = backbone.parameter_groups()
    assert [depth for depth, _ in groups] == [0, 1, 2, 3]
    grouped = [id(p) for _, parameters in groups for p in parameters]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in backbone.parameters() if p.requires_grad}
    assert {id(p) for p in backbone.encoder.encoders[2].parameters()} == {
        id(p) for p in dict(groups)[3]
    }


def test_parameter_groups_do_not_change_when_frozen(small_conformer):
    backbone = build_backbone({**small_conformer(), "normalize": None})
    before = [(depth, [id(p) for p in ps]) for depth, ps in backbone.parameter_groups()]
    backbone.set_frozen(True)
    assert [
        (depth, [id(p) for p in ps]) for depth, ps in backbone.parameter_groups()
    ] == before


def test_frontend_stays_in_float32_under_autocast(small_conformer):
    backbone = build_backbone(
        {**small_conformer(), "normalize": "utterance_mvn"}
    ).eval()
    audio, lengths = torch.randn(1, 9000), torch.tensor([9000])
    with torch.no_grad():
        expected, _ = backbone.features(audio, lengths)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            feats, _ = backbone.features(audio, lengths)
            outputs, _ = backbone(audio, lengths)
    assert torch.equal(feats, expected)
    assert torch.isfinite(outputs[-1]).all()


def test_specaug_is_applied_in_training_only(small_conformer):
    masks = {
        "apply_time_mask": False,
        "freq_mask_width_range": (40, 60),
        "num_freq_mask": 1,
    }
    specaug = SpecAug(apply_time_warp=False, **masks)
    backbone = build_backbone({**small_conformer(), "normalize": None}, specaug=specaug)
    audio, lengths = torch.randn(1, 9000), torch.tensor([9000])
    masked, _ = backbone.train().features(audio, lengths)
    whole, _ = backbone.eval().features(audio, lengths)
    assert (masked == 0).any()
    assert not (whole == 0).any()


def test_can_be_copied_and_pickled_after_use(small_conformer):
    backbone = build_backbone({**small_conformer(), "normalize": None}).eval()
    audio, lengths = torch.randn(1, 9000), torch.tensor([9000])
    with torch.no_grad():
        expected, _ = backbone(audio, lengths)
        for copied in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
            outputs, _ = copied(audio, lengths)
            assert torch.equal(outputs[-1], expected[-1])


def test_a_failed_forward_pass_leaves_no_hooks(small_conformer):
    backbone = build_backbone({**small_conformer(), "normalize": None}).eval()
    with pytest.raises(SVError, match="feature frames"):
        backbone.blocks(torch.randn(1, 3, 80), torch.tensor([3]))
    with torch.no_grad():
        outputs, _ = backbone(torch.randn(1, 9000), torch.tensor([9000]))
    assert len(outputs) == 3


def test_backbone_of_a_bundle_shares_the_asr_encoder(
    train_asr, small_conformer, speech
):
    trained = train_asr(small_conformer())
    bundle = load_asr_bundle(trained.exp)
    shared = bundle.backbone()
    assert shared.encoder is bundle.model.encoder
    with torch.no_grad():
        outputs, _ = shared.eval()(*speech)
        expected, _ = backbone_of(trained)(*speech)
    assert torch.equal(outputs[-1], expected[-1])


@pytest.mark.parametrize("name", ["librispeech_conformer_hop160", "owsm_v3.1_ebf"])
@torch.no_grad()
def test_mixed_precision_leaves_no_trace_in_positions(name, train_asr, speech):
    trained = train_asr(name)
    backbone = backbone_of(trained)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(*speech)
    rounded = [m.pe for m in backbone.encoder.modules() if hasattr(m, "pe")]
    assert rounded and all(table.dtype == torch.bfloat16 for table in rounded)
    fresh = backbone_of(trained)
    for found, expected in zip(backbone(*speech)[0], fresh(*speech)[0], strict=True):
        assert torch.equal(found, expected)
