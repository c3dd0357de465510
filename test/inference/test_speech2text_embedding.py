import shutil

import numpy as np
import pytest
import soundfile
import torch

import espnet2_sv
from espnet2_sv import Speech2Embedding, Speech2TextEmbedding
from espnet2_sv.errors import SVError


@pytest.fixture
def audio(an4) -> np.ndarray:
    return soundfile.read(an4["an251-fash-b"])[0]


def test_it_is_public():
    assert "Speech2TextEmbedding" in espnet2_sv.__all__


@pytest.mark.parametrize(
    "kind", ["ctc", "bpe", "legacy", "self_conditioned", "transducer"]
)
def test_text_is_the_recognisers_and_embedding_the_adaptors(zoo, kind, audio):
    text, embedding = Speech2TextEmbedding.from_pretrained(
        zoo.adaptor(kind), decode="beam", beam_size=2
    )(audio)
    results = zoo.stock(kind, beam_size=2)(audio)
    results = results[0] if isinstance(results, tuple) else results
    assert text == results[0][0]
    assert embedding.shape == (1, 8) and embedding.dtype == torch.float32
    expected = Speech2Embedding.from_pretrained(zoo.adaptor(kind))(audio)
    torch.testing.assert_close(embedding, expected, atol=1e-6, rtol=1e-5)


def test_tokens_and_nbest_are_there_for_who_wants_them(zoo, audio):
    speech2both = Speech2TextEmbedding.from_pretrained(
        zoo.adaptor("attention"), decode="beam", beam_size=3, nbest=2
    )
    result = speech2both.recognise(audio)
    stock = zoo.stock("attention", beam_size=3, nbest=2)(audio)
    assert result.transcript.tokens == stock[0][1]
    assert [result[:3] for result in result.transcript.nbest] == [r[:3] for r in stock]
    assert result.embedding.shape == (8,)


def test_the_asr_model_is_in_memory_once(zoo):
    speech2both = Speech2TextEmbedding.from_pretrained(zoo.adaptor())
    inside = {
        id(p) for p in speech2both.spk_model.backbone.frozen_module.encoder.parameters()
    }
    assert inside == {id(p) for p in speech2both.asr_model.encoder.parameters()}


def test_front_end_and_encoder_run_once(zoo, audio):
    speech2both = Speech2TextEmbedding.from_pretrained(
        zoo.adaptor("attention"), decode="beam"
    )
    speech2both.joint.recogniser.speech2text.beam_search.beam_size = 2
    calls = []
    model = speech2both.asr_model
    for module in (
        model.frontend,
        model.normalize,
        model.encoder,
        *model.encoder.encoders,
    ):
        module.register_forward_hook(lambda module, *_: calls.append(module))
    speech2both(audio)
    assert len(calls) == len(set(calls)) == 3 + len(model.encoder.encoders)


def test_a_long_recording_is_done_in_pieces(zoo, audio):
    source = zoo.adaptor()
    whole = Speech2TextEmbedding.from_pretrained(source)
    half = len(audio) // 2
    cut = Speech2TextEmbedding.from_pretrained(source, max_seconds=(half + 1) / 16000)
    result = cut.recognise(audio)
    pieces = [whole.recognise(piece).transcript for piece in np.array_split(audio, 2)]
    assert result.transcript.text == " ".join(piece.text for piece in pieces)
    assert result.transcript.token_ids == [
        i for piece in pieces for i in piece.token_ids
    ]
    expected = Speech2Embedding.from_pretrained(source, max_seconds=(half + 1) / 16000)(
        audio
    )
    torch.testing.assert_close(result.embedding[None], expected, atol=1e-6, rtol=1e-5)


def test_a_moved_asr_model_is_named(zoo, audio, tmp_path):
    moved = shutil.copytree(zoo.asr().parents[1], tmp_path / "moved")
    alone = shutil.copytree(moved / "exp/sv_adaptor", tmp_path / "alone")
    config = (
        (alone / "config.yaml").read_text().replace(str(zoo.asr()), "exp/asr_train")
    )
    (alone / "config.yaml").write_text(config)
    with pytest.raises(SVError, match=r"give the ASR model .*--asr"):
        Speech2TextEmbedding.from_pretrained(alone)
    expected = Speech2TextEmbedding.from_pretrained(zoo.adaptor())(audio)
    found = Speech2TextEmbedding.from_pretrained(alone, asr=moved / "exp/asr_train")(
        audio
    )
    assert found[0] == expected[0] and torch.equal(found[1], expected[1])
    # relative to a folder above the adaptor's, as in a recipe that was moved
    shutil.copy(alone / "config.yaml", moved / "exp/sv_adaptor")
    again = Speech2TextEmbedding.from_pretrained(moved / "exp/sv_adaptor")(audio)
    assert torch.equal(again[1], expected[1])


def test_another_asr_model_is_refused(zoo):
    with pytest.raises(SVError, match="was trained on the ASR weights"):
        Speech2TextEmbedding.from_pretrained(zoo.adaptor("ctc"), asr=zoo.asr("legacy"))


def test_a_speaker_model_without_recogniser_is_refused(speaker_exp, zoo):
    with pytest.raises(SVError, match=r"sv_task scratch.*only an adaptor"):
        Speech2TextEmbedding.from_pretrained(speaker_exp)
    with pytest.raises(SVError, match="needs no ASR model"):
        Speech2Embedding.from_pretrained(speaker_exp, asr=zoo.asr())


def test_bad_speech_is_refused(zoo):
    speech2both = Speech2TextEmbedding.from_pretrained(zoo.adaptor())
    with pytest.raises(SVError, match="too short"):
        speech2both(np.full(100, 0.1))
    with pytest.raises(SVError, match="is silent"):
        speech2both(np.zeros(16000))
    with pytest.raises(SVError, match="NaN"):
        speech2both(np.full(16000, np.nan))
