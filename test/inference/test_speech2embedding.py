import inspect

import numpy as np
import pytest
import soundfile
import torch

import espnet2_sv
from espnet2.bin.spk_inference import Speech2Embedding as Stock
from espnet2_sv.errors import SVError
from espnet2_sv.inference.speech2embedding import Speech2Embedding


@pytest.fixture(scope="module")
def speech2embedding(speaker_exp):
    return Speech2Embedding.from_pretrained(speaker_exp)


def test_it_takes_the_arguments_of_the_stock_class():
    ours = inspect.signature(Speech2Embedding).parameters
    stock = inspect.signature(Stock).parameters
    assert list(ours)[: len(stock)] == list(stock)
    assert all(ours[name].default == stock[name].default for name in stock)
    assert "model_tag" in inspect.signature(Speech2Embedding.from_pretrained).parameters
    assert espnet2_sv.Speech2Embedding is Speech2Embedding


def test_real_speech_gives_one_row(speech2embedding, an4):
    audio, rate = soundfile.read(next(iter(an4.values())))
    assert rate == speech2embedding.sample_rate
    embedding = speech2embedding(audio)
    assert embedding.shape == (1, 8)
    assert embedding.dtype == torch.float32
    assert torch.isfinite(embedding).all()
    torch.testing.assert_close(speech2embedding(torch.from_numpy(audio)), embedding)


def test_embeddings_keep_their_magnitude(speech2embedding, an4):
    audio, _ = soundfile.read(next(iter(an4.values())), dtype="float32")
    model = speech2embedding.spk_model
    with torch.no_grad():
        expected = model.embed(torch.tensor(audio)[None], torch.tensor([len(audio)]))
    torch.testing.assert_close(speech2embedding(audio), expected)
    assert abs(float(expected.norm()) - 1) > 0.01


def test_files_may_be_named_one_by_one(speech2embedding, speaker_exp, rng_speech):
    weights = speaker_exp / "valid.eer.best.pth"
    for arguments in (
        {"train_config": speaker_exp / "config.yaml", "model_file": weights},
        {"model_file": str(weights)},
    ):
        for make in (Speech2Embedding, Speech2Embedding.from_pretrained):
            assert torch.equal(
                make(**arguments)(rng_speech), speech2embedding(rng_speech)
            )


@pytest.fixture
def rng_speech():
    return np.random.default_rng(0).standard_normal(12000) * 0.1


def test_a_model_must_be_named_once(speaker_exp):
    with pytest.raises(SVError, match="model_file"):
        Speech2Embedding()
    with pytest.raises(SVError, match="not both"):
        Speech2Embedding.from_pretrained(speaker_exp, model_file="x.pth")


@pytest.mark.parametrize(
    "speech",
    [np.zeros(0), np.full(16000, np.nan), np.zeros((1, 16000)), torch.zeros(2, 3)],
)
def test_bad_speech_is_refused_in_one_line(speech2embedding, speech):
    with pytest.raises(SVError) as error:
        speech2embedding(speech)
    assert "\n" not in str(error.value)


def test_embeddings_can_be_trained_on(speech2embedding, rng_speech):
    weight = torch.ones(8, requires_grad=True)
    (speech2embedding(rng_speech) * weight).sum().backward()
    torch.testing.assert_close(weight.grad, speech2embedding(rng_speech)[0])
