import pytest
import torch

from espnet2_sv.asr.recogniser import Recogniser
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import find_model_files

pytestmark = pytest.mark.execution_timeout(200)

GREEDY = ["ctc", "attention", "bpe", "legacy", "self_conditioned", "transducer"]
RATE = 16000


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(
        int(seconds * RATE), generator=torch.Generator().manual_seed(seed)
    )


def load(zoo, kind: str, *args, **options) -> Recogniser:
    return Recogniser.load(
        find_model_files(zoo.asr(kind), "asr"), "cpu", *args, **options
    )


def recognise(recogniser: Recogniser, speech: torch.Tensor):
    transcripts, captured = recogniser(speech[None], torch.tensor([len(speech)]))
    return transcripts[0], captured


class Witness:
    """Records an encoder's inputs, and how often the model's parts are called."""

    def __init__(self, model: torch.nn.Module):
        self.encoded, self.calls = [], {"frontend": 0, "normalize": 0, "encoder": 0}
        for name in self.calls:
            getattr(model, name).register_forward_hook(self._counting(name))

    def _counting(self, name):
        def hook(module, args, output):
            self.calls[name] += 1
            if name == "encoder":
                frames = output[0][0] if isinstance(output[0], tuple) else output[0]
                self.encoded.append(frames)

        return hook


@pytest.mark.parametrize("kind", GREEDY)
def test_greedy_text_is_what_espnet_reads_off_the_encoder(zoo, kind):
    speech = noise(1.3)
    stock, recogniser = zoo.stock(kind), load(zoo, kind, "greedy")
    witness = Witness(recogniser.asr_model)
    transcript, _ = recognise(recogniser, speech)
    encoded, _ = stock.asr_model.encode(speech[None], torch.tensor([len(speech)]))
    encoded = encoded[0] if isinstance(encoded, tuple) else encoded
    assert torch.equal(witness.encoded[0], encoded)  # bit for bit
    assert witness.calls == {"frontend": 1, "normalize": 1, "encoder": 1}
    if stock.beam_search is not None:  # a transducer has no reader of its CTC layer
        assert transcript.tokens == stock._decode_interctc([(1, encoded)])[1]
    assert transcript.token_ids == [
        stock.asr_model.token_list.index(t) for t in transcript.tokens
    ]
    assert transcript.text == stock.tokenizer.tokens2text(transcript.tokens)
    if kind not in ("self_conditioned", "transducer"):
        assert len(transcript.tokens) > 2  # or the test would compare nothing


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ctc", {"beam_size": 4, "ctc_weight": 1.0}),
        (
            "attention",
            {"beam_size": 3, "ctc_weight": 0.3, "penalty": 0.2, "maxlenratio": 0.5},
        ),
        ("attention", {"beam_size": 5}),
        ("bpe", {"beam_size": 2, "nbest": 2}),
        ("legacy", {"beam_size": 2}),
        ("self_conditioned", {"beam_size": 2}),
        ("transducer", {"beam_size": 3, "transducer_conf": {"search_type": "tsd"}}),
        ("no_ctc", {"beam_size": 3, "ctc_weight": 0.0}),
    ],
)
def test_beam_search_is_espnets_own(zoo, kind, options):
    speech = noise(0.9)
    recogniser = load(zoo, kind, "beam", **options)
    witness = Witness(recogniser.asr_model)
    transcript, _ = recognise(recogniser, speech)
    stock = zoo.stock(kind, **options)
    expected_encoded = Witness(stock.asr_model).encoded
    results = stock(speech)
    results = results[0] if isinstance(results, tuple) else results
    assert (transcript.text, transcript.tokens, transcript.token_ids) == results[0][:3]
    assert len(transcript.nbest) == len(results) == options.get("nbest", 1)
    for ours, theirs in zip(transcript.nbest, results, strict=True):
        assert ours[:3] == theirs[:3]
        assert float(ours[3].score) == float(theirs[3].score)
    assert torch.equal(witness.encoded[0], expected_encoded[0])
    assert witness.calls == {"frontend": 1, "normalize": 1, "encoder": 1}


def test_a_transducer_searches_by_default(zoo):
    speech = noise(0.9)
    transcript, _ = recognise(load(zoo, "transducer"), speech)
    assert transcript.token_ids == zoo.stock("transducer")(speech)[0][2]


def test_mask_ctc_is_read_greedily(zoo):
    transcript, _ = recognise(load(zoo, "mask_ctc"), noise(1.0))
    assert transcript.tokens
    with pytest.raises(SVError, match="Mask-CTC"):
        load(zoo, "mask_ctc", "beam")


@pytest.mark.parametrize("kind", ["ctc", "bpe", "self_conditioned"])
def test_batches_give_what_single_utterances_give(zoo, kind):
    recogniser = load(zoo, kind)
    waves = [noise(seconds, seed) for seed, seconds in enumerate((0.7, 1.91, 1.3))]
    speech = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    together, captured = recogniser(speech, torch.tensor([len(w) for w in waves]))
    for i, wave in enumerate(waves):
        alone, heard_alone = recognise(recogniser, wave)
        assert together[i] == alone
        assert captured.lengths[i] == heard_alone.lengths[0]
        for block, expected in zip(captured.blocks, heard_alone.blocks, strict=True):
            actual = block[i, : captured.lengths[i]]
            torch.testing.assert_close(actual, expected[0], atol=1e-5, rtol=1e-4)


def test_the_blocks_are_those_of_the_backbone(zoo):
    recogniser, speech = load(zoo, "attention", "beam", beam_size=2), noise(1.1)
    _, captured = recognise(recogniser, speech)
    expected, lengths = recogniser.bundle.backbone()(
        speech[None], torch.tensor([len(speech)])
    )
    assert torch.equal(captured.lengths, lengths)
    assert all(
        torch.equal(a, b) for a, b in zip(captured.blocks, expected, strict=True)
    )


def test_nothing_stays_attached_to_the_asr_model(zoo):
    recogniser = load(zoo, "ctc")
    recognise(recogniser, noise(0.5))
    with pytest.raises(SVError, match="too short"):
        recognise(recogniser, noise(0.01))
    for module in recogniser.asr_model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize(
    ("kind", "args", "options", "message"),
    [
        ("no_ctc", [], {}, "no CTC layer.*choose decode beam"),
        ("ctc", ["viterbi"], {}, "'viterbi' is unknown; choose greedy or beam"),
        (
            "ctc",
            ["beam"],
            {"beam_sise": 3},
            "'beam_sise' is unknown; known are.*beam_size",
        ),
        (
            "ctc",
            ["beam"],
            {"quantize_asr_model": True},
            "quantize_asr_model' is unknown",
        ),
        ("ctc", ["greedy"], {"beam_size": 3}, "'beam_size' needs decode beam"),
        (
            "attention",
            ["beam"],
            {"lm_train_config": "no.yaml", "lm_file": "no.pth"},
            "no.yaml",
        ),
    ],
)
def test_what_cannot_be_decoded_is_refused(zoo, kind, args, options, message):
    with pytest.raises(SVError, match=message) as error:
        load(zoo, kind, *args, **options)
    assert "\n" not in str(error.value)


def test_without_its_ctc_layer_the_search_needs_no_option(zoo):
    speech = noise(0.8)
    transcript, _ = recognise(load(zoo, "no_ctc", "beam", beam_size=2), speech)
    expected = zoo.stock("no_ctc", beam_size=2, ctc_weight=0.0)(speech)[0]
    assert transcript.token_ids == expected[2]


def test_a_lost_bpe_model_is_told(train_asr, small_conformer):
    conf = small_conformer() | {"token_type": "bpe", "bpemodel": "data/bpe.model"}
    trained = train_asr(conf)
    (trained.root / "data/bpe.model").unlink()
    with pytest.raises(SVError, match=r"BPE model data/bpe\.model .*is missing"):
        Recogniser.load(find_model_files(trained.exp, "asr"))
