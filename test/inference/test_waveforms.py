import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espnet2_sv.errors import SVError
from espnet2_sv.inference.waveforms import (
    WaveformEmbedder,
    check_waveform,
    merge_pieces,
    split_evenly,
)
from espnet2_sv.models.load import load_speaker_model

RATE = 16000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="module")
def model(speaker_exp):
    return load_speaker_model(speaker_exp)[0]


@pytest.fixture(scope="module")
def legacy_model(legacy_exp):
    return load_speaker_model(legacy_exp)[0]


def reference(model, wave) -> torch.Tensor:
    """The model's own embedding of one waveform, alone in its batch."""
    with torch.no_grad():
        return model.embed(torch.tensor(wave)[None], torch.tensor([len(wave)]))[0]


@pytest.mark.parametrize("name", ["model", "legacy_model"])
def test_an_embedding_does_not_depend_on_its_batch(name, request):
    model = request.getfixturevalue(name)
    lengths = [1.0, 0.4, 1.0, 2.3, 0.55, 1.0001, 0.4]
    waves = [noise(seconds, seed) for seed, seconds in enumerate(lengths)]
    embeddings = WaveformEmbedder(model)(waves)
    for wave, embedding in zip(waves, embeddings, strict=True):
        torch.testing.assert_close(embedding, reference(model, wave), atol=1e-5, rtol=0)


def test_padding_would_change_a_legacy_embedding(legacy_model):
    # otherwise the test above could pass without batches of one length
    short, long = torch.tensor(noise(0.5)), torch.tensor(noise(2.0, 1))
    speech = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    with torch.no_grad():
        padded = legacy_model.embed(speech, torch.tensor([len(short), len(long)]))[0]
    assert (padded - reference(legacy_model, short.numpy())).abs().max() > 1e-3


def test_a_long_recording_is_the_mean_of_its_pieces(model):
    wave = noise(2.5)
    embedding = WaveformEmbedder(model, max_seconds=1.0)([wave])[0].double().numpy()
    pieces = np.array_split(wave, 3)
    rows = np.stack([reference(model, piece).double().numpy() for piece in pieces])
    norms = np.linalg.norm(rows, axis=1)
    weights = np.array([len(piece) for piece in pieces]) / len(wave)
    direction = (weights[:, None] * rows / norms[:, None]).sum(0)
    cosine = (
        embedding @ direction / np.linalg.norm(embedding) / np.linalg.norm(direction)
    )
    assert cosine == pytest.approx(1.0, abs=1e-10)
    assert np.linalg.norm(embedding) == pytest.approx((weights * norms).sum(), rel=1e-5)


def test_no_batch_is_larger_than_allowed(model, monkeypatch):
    shapes = []
    embed = model.embed

    def recording(speech, lengths):
        shapes.append(tuple(speech.shape))
        return embed(speech, lengths)

    monkeypatch.setattr(model, "embed", recording)
    waves = [noise(seconds) for seconds in (0.3, 5.0, 0.6, 0.9, 0.9, 1.1, 0.3)]
    WaveformEmbedder(model, max_seconds=1.0, batch_seconds=2.0)(waves)
    assert max(rows * samples for rows, samples in shapes) <= 2 * RATE
    assert len(shapes) < 12  # there are batches at all


@given(st.integers(1, 5000), st.integers(1, 700))
def test_pieces_are_consecutive_and_even(length, most):
    wave = torch.arange(length)
    pieces = split_evenly(wave, most)
    sizes = [len(piece) for piece in pieces]
    assert torch.equal(torch.cat(pieces), wave)
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-length // most)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(0, np.float32), "empty"),
        (np.zeros((2, 100), np.float32), r"\(2, 100\)"),
        (np.array([0.0, np.nan]), "NaN"),
        (torch.tensor([0.0, float("inf")]), "NaN or infinite"),
        (np.zeros(100, np.int16), "int16"),
        (np.array(["a"]), "not samples"),
        ([0.0, 0.1], "list"),
    ],
)
def test_what_is_no_waveform_is_refused_in_one_line(wave, message):
    with pytest.raises(SVError, match=message) as error:
        check_waveform(wave)
    assert "\n" not in str(error.value)


def test_any_array_of_floats_is_taken():
    expected = torch.tensor([1.0, 2.0, 3.0])
    read_only = np.array([1.0, 2.0, 3.0])
    read_only.setflags(write=False)
    for wave in (
        read_only,
        np.array([3.0, 2.0, 1.0])[::-1],
        np.array([1, 2, 3], np.longdouble),
    ):
        assert torch.equal(check_waveform(wave), expected)
    half = torch.tensor([1, 2, 3], dtype=torch.float16, requires_grad=True)
    assert torch.equal(check_waveform(half), expected)


def test_too_short_speech_is_refused(model):
    with pytest.raises(SVError, match="too short"):
        WaveformEmbedder(model)([noise(0.001)])


def test_mixed_precision_is_close_to_full_precision(model):
    wave = noise(1.0)
    mixed = WaveformEmbedder(model, dtype="bfloat16")([wave])[0]
    full = WaveformEmbedder(model)([wave])[0]
    assert torch.nn.functional.cosine_similarity(mixed, full, dim=0) > 0.99


@pytest.mark.parametrize(
    "bad",
    [
        {"max_seconds": math.nan},
        {"dtype": "float64"},
        {"max_seconds": 0},
        {"batch_seconds": -1},
        {"max_seconds": math.inf},
    ],
)
def test_bad_settings_are_refused(model, bad):
    with pytest.raises(SVError):
        WaveformEmbedder(model, **bad)


def test_recordings_are_whole_up_to_ten_seconds_and_cut_above(model):
    embedder = WaveformEmbedder(model)
    short, long = noise(9.9), noise(20.5)
    torch.testing.assert_close(
        embedder([short])[0], reference(model, short), atol=1e-5, rtol=0
    )
    expected = WaveformEmbedder(model, max_seconds=7)([long])  # three equal pieces, too
    torch.testing.assert_close(embedder([long]), expected, atol=1e-5, rtol=0)
    whole = reference(model, long)
    assert (embedder([long])[0] - whole).abs().max() > 1e-4


@pytest.mark.parametrize("seconds, count", [(6.0, 6), (6.01, 13)])
def test_pieces_of_long_recordings_are_half_as_long(model, seconds, count):
    wave = noise(seconds)
    rows = [reference(model, piece) for piece in np.array_split(wave, count)]
    expected = merge_pieces(torch.stack(rows), [1.0] * count)
    embedding = WaveformEmbedder(model, max_seconds=1.0)([wave])[0]
    torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=0)


def test_a_long_waveform_is_not_copied():
    wave = noise(0.5)
    checked = check_waveform(wave)
    assert checked.data_ptr() == wave.ctypes.data
    read_only = np.frombuffer(wave.tobytes(), np.float32)
    for other in (wave[::-1], wave.astype(np.float64), read_only):
        expected = torch.tensor(np.array(other), dtype=torch.float32)
        torch.testing.assert_close(check_waveform(other), expected)


def test_progress_of_long_recordings_is_shown(model, monkeypatch, caplog):
    from espnet2_sv.inference import progress

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    caplog.set_level("INFO")
    wave = np.tile(noise(1.0), 130)
    for shown, expected in ((False, 0), (True, 9)):
        caplog.clear()
        WaveformEmbedder(model, show_progress=shown)([wave])
        lines = [m for m in caplog.messages if m.startswith("seconds of audio")]
        assert len(lines) == expected
    assert lines[-1] == "seconds of audio: 130 of 130"
    caplog.clear()
    WaveformEmbedder(model, show_progress=True)([wave[: 100 * 16000]])
    assert not caplog.messages
