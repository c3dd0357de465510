"""OWSM-CTC (task s2t_ctc) gives what ESPnet's own encoder and recogniser give."""

import asr_models
import pytest
import torch

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.recogniser import Recogniser
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.backbones.blocks import record_block_outputs
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import find_model_files

pytestmark = pytest.mark.execution_timeout(200)

RATE = 16000
PREFIX = 2  # frames of language and task, which ESPnet puts before the speech
PUBLISHED = ["owsm_ctc_v3.1", "owsm_ctc_v4", "powsm_ctc"]
# Changes of the published settings
VARIANTS = [
    {"use_cross_attention": False, "interctc_use_conditioning": False},
    {"use_cross_attention": True, "interctc_layer_idx": []},
    {"use_cross_attention": [1, 0, 0], "interctc_layer_idx": [1]},
    {"attention_layer_type": "rel_selfattn", "pos_enc_layer_type": "rel_pos"},
    {"attention_layer_type": "fast_selfattn", "input_layer": "conv1d2"},
    {"input_layer": "conv2d6", "use_ffn": False, "macaron_ffn": False},
    {
        "output_size": 12,
        "attention_heads": 4,
    },  # that of the prompt encoder: nothing is projected
]


def stock_blocks(model, speech, lengths, prompt=asr_models.PROMPT):
    """Block outputs and encoder output (1, T, D) without the frames of the prefix."""
    with record_block_outputs(model.encoder) as outputs:
        last, frames = asr_models.encode(model, speech, lengths, prompt)
    return [x[:, PREFIX:] for x in outputs], last[:, PREFIX:], frames - PREFIX


@torch.no_grad()
def assert_blocks_are_stocks(backbone, stock, speech, prompt=asr_models.PROMPT):
    """Compare utterances alone with ESPnet's encoder, and a padded batch with them."""
    audio, lengths = speech
    blocks, frames = backbone(audio, lengths)
    last, same = backbone.encode(*backbone.features(audio, lengths))
    early, _ = backbone.first_blocks(2)(audio, lengths)
    assert torch.equal(frames, same)
    assert torch.equal(backbone.output_frames(lengths), frames)
    assert len(early) == 2 and all(map(torch.equal, early, blocks))
    for row, length in enumerate(lengths.tolist()):
        one = audio[row : row + 1, :length], lengths[row : row + 1]
        expected, final, valid = stock_blocks(stock, *one, prompt)
        alone, _ = backbone(*one)
        alone.append(backbone.encode(*backbone.features(*one))[0])
        batched = [x[row : row + 1, : frames[row]] for x in (*blocks, last)]
        assert len(blocks) == len(expected) == 3
        assert frames[row] == valid == expected[0].shape[1]
        for ours, padded, theirs in zip(
            alone, batched, [*expected, final], strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
            torch.testing.assert_close(padded, ours, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_blocks_are_those_of_espnets_encoder(name, train_asr, speech):
    trained = train_asr(name)
    bundle = load_asr_bundle(trained.pack())
    assert_blocks_are_stocks(bundle.backbone(), trained.stock, speech)
    prompt = ("<deu>", "<st_deu>")
    other = bundle.backbone(*prompt)
    assert_blocks_are_stocks(other, trained.stock, speech, prompt)
    difference = other(*speech)[0][0] - bundle.backbone()(*speech)[0][0]
    assert difference.abs().max() > 1e-3  # the prompt is heard


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_blocks_of_variants_are_those_of_espnets_encoder(
    variant, train_asr, published_conf, speech
):
    conf = published_conf("owsm_ctc_v3.1")
    conf["encoder_conf"].update(variant)
    trained = train_asr(conf)
    bundle = load_asr_bundle(trained.exp)
    copied = build_backbone(backbone_settings(bundle.args)).eval()
    copy_asr_weights(bundle, copied)
    for backbone in (bundle.backbone(), copied):
        assert_blocks_are_stocks(backbone, trained.stock, speech)


def test_a_speaker_model_needs_neither_embeddings_nor_prompt_encoder(train_asr):
    trained = train_asr("owsm_ctc_v4")
    bundle = load_asr_bundle(trained.exp)
    settings = backbone_settings(bundle.args, lang_sym="<eng>")
    assert settings["lang_sym"] == "<eng>" and settings["task_sym"] == "<asr>"
    assert settings["conditioning_vocab"] == len(bundle.args.token_list)
    backbone = build_backbone(settings)
    report = copy_asr_weights(bundle, backbone, lang_sym="<eng>")
    assert report.copied == report.expected == len(backbone.state_dict())
    assert report.copied_parameters == sum(p.numel() for p in backbone.parameters())
    parts = {name.split(".")[0] for name in backbone.state_dict()}
    assert parts == {"frontend", "normalize", "encoder", "prompt", "ctc"}
    assert backbone.prompt.prefix.shape == (2, 16)
    assert backbone.prompt.memory.shape == (1, 16)
    expected = bundle.backbone("<eng>").prompt
    assert torch.equal(backbone.prompt.prefix, expected.prefix)
    assert torch.equal(backbone.prompt.memory, expected.memory)
    with pytest.raises(SVError, match=r"2 missing.*prompt\.memory"):
        copy_asr_weights(bundle.model, backbone)


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_first_blocks_only(num_blocks, train_asr, speech):
    trained = train_asr("owsm_ctc_v4")
    bundle = load_asr_bundle(trained.exp)
    settings = backbone_settings(bundle.args, num_blocks)
    backbone = build_backbone(settings).eval()
    copy_asr_weights(bundle, backbone)
    with torch.no_grad():
        found, _ = backbone(*speech)
        expected, _ = bundle.backbone()(*speech)
    assert len(found) == num_blocks
    assert all(map(torch.equal, found, expected))


def test_depths_of_the_parameters(train_asr):
    bundle = load_asr_bundle(train_asr("owsm_ctc_v4").exp)
    backbone = build_backbone(backbone_settings(bundle.args))
    groups = dict(backbone.parameter_groups())
    depth_of = {id(p): depth for depth, group in groups.items() for p in group}
    assert depth_of[id(backbone.prompt.prefix)] == 0
    assert depth_of[id(backbone.prompt.memory)] == 0
    assert depth_of[id(backbone.encoder.encoders[2].cross_attn.linear_v.weight)] == 3
    assert depth_of[id(backbone.encoder.conditioning_layer.weight)] == 1
    unused = {id(p) for p in backbone.encoder.after_norm.parameters()}
    assert depth_of.keys() == {id(p) for p in backbone.parameters()} - unused


@pytest.mark.parametrize("cross_attention", [True, False])
def test_every_trainable_parameter_gets_a_gradient(
    cross_attention, train_asr, published_conf, speech
):
    conf = published_conf("owsm_ctc_v4")
    conf["encoder_conf"]["use_cross_attention"] = cross_attention
    bundle = load_asr_bundle(train_asr(conf).exp)
    backbone = build_backbone(backbone_settings(bundle.args)).train()
    blocks, _ = backbone(*speech)
    sum(x.square().sum() for x in blocks).backward()
    unread = () if cross_attention else ("prompt.memory",)
    for name, parameter in backbone.named_parameters():
        trainable = not name.startswith(("encoder.after_norm.", *unread))
        assert parameter.requires_grad == trainable
        assert (parameter.grad is not None) == trainable, name


def test_frames_and_shortest_input(train_asr):
    backbone = load_asr_bundle(train_asr("owsm_ctc_v4").exp).backbone()
    assert backbone.frame_rate_hz == 12.5 and backbone.subsampling == 8
    shortest = backbone.minimum_samples
    audio = torch.randn(1, shortest)
    blocks, frames = backbone(audio, torch.tensor([shortest]))
    assert frames.tolist() == [1] and blocks[0].shape == (1, 1, 16)
    with pytest.raises(SVError, match="too short"):
        backbone(audio[:, :-1], torch.tensor([shortest - 1]))
    with pytest.raises(SVError, match=r"14 feature frames is too short: .* least 15"):
        backbone.blocks(torch.randn(1, 14, 128), torch.tensor([14]))


@torch.no_grad()
def test_mixed_precision_leaves_no_trace(train_asr, speech):
    bundle = load_asr_bundle(train_asr("owsm_ctc_v4").exp)
    backbone = bundle.backbone()
    expected, _ = backbone(*speech)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = backbone(*speech)
        stock, _, _ = stock_blocks(bundle.model, *speech)
        unpadded = speech[0], torch.full_like(speech[1], speech[0].size(1))
        alike, _ = backbone(*unpadded)
        theirs, _, _ = stock_blocks(bundle.model, *unpadded)
    assert rounded[0].dtype == stock[0].dtype == torch.bfloat16
    for found, reference in ((rounded, stock), (alike, theirs)):
        for ours, espnets in zip(found, reference, strict=True):
            error = (ours[0] - espnets[0]).abs().max()
            assert error < 0.05 * espnets[0].abs().max()
    assert backbone.prompt.prefix.dtype == torch.float32
    assert all(map(torch.equal, backbone(*speech)[0], expected))


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ({"lang_sym": "<dex>"}, r"lang_sym '<dex>' is not a symbol .*<deu>"),
        ({"task_sym": "<st_fra>"}, r"task_sym '<st_fra>' is not a symbol .*<st_deu>"),
        ({"lang_sym": "xyz"}, r"lang_sym 'xyz' is not a symbol .*such as <"),
    ],
)
def test_an_unknown_symbol_is_refused(symbols, message, train_asr):
    bundle = load_asr_bundle(train_asr("owsm_ctc_v4").exp)
    for build in (
        lambda: bundle.backbone(**symbols),
        lambda: backbone_settings(bundle.args, **symbols),
    ):
        with pytest.raises(SVError, match=message) as error:
            build()
        assert "\n" not in str(error.value)


def test_a_symbol_for_an_encoder_that_reads_none_is_refused(train_asr):
    bundle = load_asr_bundle(train_asr("owsm_v4_base").exp)
    with pytest.raises(SVError, match=r"lang_sym '<eng>': .* reads no symbol"):
        bundle.backbone("<eng>")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "e_branchformer"}, "do not belong together"),
        ({"model": "espnet"}, "do not belong together"),
        ({"encoder_conf": {"input_layer": "linear"}}, "leaves out the symbols"),
    ],
)
def test_what_espnet_itself_could_not_run_is_refused(
    changes, message, train_asr, tmp_path
):
    trained = train_asr("owsm_ctc_v4")
    encoder_conf = trained.conf["encoder_conf"] | changes.get("encoder_conf", {})
    trained.save_config(**changes | {"encoder_conf": encoder_conf})
    with pytest.raises(SVError, match=message) as error:
        load_asr_bundle(trained.exp)
    assert "\n" not in str(error.value)


def test_summary(train_asr):
    summary = load_asr_bundle(train_asr("owsm_ctc_v4").pack()).summary()
    assert summary["task"] == "s2t_ctc"
    assert (summary["lang_sym"], summary["task_sym"]) == ("<nolang>", "<asr>")
    assert summary["subsampling"] == 8 and summary["frame_rate_hz"] == 12.5
    assert summary["has_ctc"] and summary["encoder"] == "e_branchformer_ctc"


def test_without_nolang_the_language_is_unk_as_in_espnets_phone_recognisers(train_asr):
    trained = train_asr("powsm_ctc")
    tokens = [x if x != "<nolang>" else "<xyz>" for x in trained.conf["token_list"]]
    trained.save_config(token_list=tokens)
    summary = load_asr_bundle(trained.exp).summary()
    assert summary["lang_sym"] == "<unk>" and summary["frame_rate_hz"] == 25


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * RATE), generator=generator)


def load(zoo, decode: str | None = None, **options) -> Recogniser:
    files = find_model_files(zoo.asr("owsm_ctc"), "asr")
    return Recogniser.load(files, "cpu", decode, **options)


@pytest.mark.parametrize("symbols", [{}, {"lang_sym": "<deu>", "task_sym": "<st_deu>"}])
def test_greedy_text_is_that_of_best_path(zoo, symbols):
    stock, recogniser = zoo.stock("owsm_ctc"), load(zoo, **symbols)
    assert recogniser.decode == "greedy"
    encoded = []
    recogniser.asr_model.encoder.register_forward_hook(lambda *_: encoded.append(True))
    waves = [noise(1.3), noise(3.1, 1), noise(0.4, 2)]
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    lengths = torch.tensor([len(wave) for wave in waves])
    transcripts, captured = recogniser(padded, lengths)
    assert len(encoded) == 1
    symbols = {"lang_sym": "<nolang>"} | symbols  # ESPnet's default is <eng>
    for wave, transcript in zip(waves, transcripts, strict=True):
        [(_, tokens, ids, text, _)] = stock.best_path(wave, **symbols)
        assert len(tokens) > 2
        assert transcript.text == text
        assert transcript.tokens == tokens
        assert transcript.token_ids == ids
    blocks, frames = recogniser.backbone(padded, lengths)
    assert torch.equal(captured.lengths, frames)
    for found, expected in zip(captured.blocks, blocks, strict=True):
        for row, valid in enumerate(frames.tolist()):
            torch.testing.assert_close(
                found[row, :valid], expected[row, :valid], rtol=0, atol=2e-5
            )


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 2},
        {"beam_size": 2, "lang_sym": "<deu>", "penalty": 0.3},
        {"beam_size": 3, "nbest": 2, "task_sym": "<st_deu>"},
    ],
)
def test_beam_search_is_espnets(zoo, options):
    speech = noise(1.1)
    stock = zoo.stock("owsm_ctc", **{"lang_sym": "<nolang>"} | options)
    recogniser = load(zoo, "beam", **options)
    assert recogniser.one_by_one
    encoded = []
    recogniser.asr_model.encoder.register_forward_hook(lambda *_: encoded.append(True))
    [transcript], captured = recogniser(speech[None], torch.tensor([len(speech)]))
    expected = stock(speech)
    assert transcript.text == expected[0][3]
    assert transcript.tokens == expected[0][1]
    assert [x[2] for x in transcript.nbest] == [x[2] for x in expected]
    assert len(encoded) == 1
    alone, frames = recogniser.backbone(speech[None], torch.tensor([len(speech)]))
    assert torch.equal(captured.lengths, frames)
    torch.testing.assert_close(captured.blocks[-1], alone[-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("decode", "options", "message"),
    [
        ("greedy", {"lang_sym": "<dex>"}, "lang_sym '<dex>' is not a symbol"),
        ("beam", {"task_sym": "<st_fra>"}, "task_sym '<st_fra>' is not a symbol"),
        ("greedy", {"beam_size": 2}, "'beam_size' needs decode beam"),
        ("beam", {"transducer_conf": {}}, "'transducer_conf' is unknown"),
        ("beam", {"partial_ar": True}, "partial_ar needs a decoder"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(zoo, decode, options, message):
    with pytest.raises(SVError, match=message) as error:
        load(zoo, decode, **options)
    assert "\n" not in str(error.value)
