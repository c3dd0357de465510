import json
import math
import shutil

import numpy as np
import pytest
import soundfile
import torch

import espnet2_sv
from espnet2_sv.data.audio import read_audio
from espnet2_sv.errors import SVError
from espnet2_sv.inference.decision import ScoreDecision
from espnet2_sv.inference.speech2embedding import Speech2Embedding
from espnet2_sv.inference.verifier import SpeakerVerifier
from espnet2_sv.scoring.calibration import Calibration


@pytest.fixture(scope="module")
def verifier(speaker_exp):
    return SpeakerVerifier.from_pretrained(speaker_exp)


def unit(speaker_exp, *paths) -> np.ndarray:
    """Reference in double precision: normalised mean of normalised embeddings."""
    speech2embedding = Speech2Embedding.from_pretrained(speaker_exp)
    rows = [
        speech2embedding(read_audio(str(p), 16000))[0].double().numpy() for p in paths
    ]
    mean = np.mean([row / np.linalg.norm(row) for row in rows], axis=0)
    return mean / np.linalg.norm(mean)


def test_it_is_public():
    assert espnet2_sv.SpeakerVerifier is SpeakerVerifier


def test_the_score_is_the_cosine(verifier, speaker_exp, an4):
    a, b = an4["an251-fash-b"], an4["cen8-mmxg-b"]
    result = verifier.verify(str(a), b)
    assert result["score"] == pytest.approx(
        unit(speaker_exp, a) @ unit(speaker_exp, b), abs=1e-5
    )
    assert verifier.verify(a, a)["score"] == pytest.approx(1, abs=1e-5)
    assert {k: result[k] for k in ("llr", "decision", "threshold")} == dict.fromkeys(
        ("llr", "decision", "threshold")
    )


def test_several_recordings_enrol_by_their_mean_direction(verifier, speaker_exp, an4):
    a, b, c = (an4[name] for name in ("an251-fash-b", "an253-fash-b", "cen8-fcaw-b"))
    expected = unit(speaker_exp, a, b) @ unit(speaker_exp, c)
    assert verifier.verify([a, b], c)["score"] == pytest.approx(expected, abs=1e-5)


def test_embeddings_have_unit_length(verifier, speaker_exp, an4):
    embedding = verifier.embed(an4["an251-fash-b"])
    assert embedding.shape == (8,)
    np.testing.assert_allclose(
        embedding, unit(speaker_exp, an4["an251-fash-b"]), atol=1e-5
    )


def test_files_arrays_and_tensors_are_alike(verifier, an4, tmp_path):
    path = an4["an251-fash-b"]
    audio, rate = soundfile.read(path)
    soundfile.write(tmp_path / "copy.flac", audio, rate)
    expected = verifier.embed(path)
    for recording in (
        str(path),
        audio,
        torch.from_numpy(audio),
        tmp_path / "copy.flac",
    ):
        torch.testing.assert_close(
            verifier.embed(recording), expected, atol=1e-5, rtol=0
        )


def test_speakers_are_identified_best_first(speaker_exp, an4):
    verifier = SpeakerVerifier.from_pretrained(speaker_exp)
    with pytest.raises(SVError, match="enroll"):
        verifier.identify(an4["an251-fash-b"])
    verifier.enroll("fash", [an4["an251-fash-b"], an4["an253-fash-b"]])
    verifier.enroll("mmxg", an4["cen8-mmxg-b"])
    ranking = verifier.identify(an4["cen8-mmxg-b"])
    assert [name for name, _ in ranking] == ["mmxg", "fash"]
    assert ranking[0][1] == pytest.approx(1, abs=1e-5)
    assert ranking[1][1] == pytest.approx(
        verifier.verify("fash", an4["cen8-mmxg-b"])["score"], abs=1e-6
    )


def test_a_threshold_decides(speaker_exp, an4):
    a, b = an4["an251-fash-b"], an4["cen8-mmxg-b"]
    score = SpeakerVerifier.from_pretrained(speaker_exp).verify(a, b)["score"]
    for threshold, decision in ((score - 0.01, True), (score + 0.01, False)):
        verifier = SpeakerVerifier.from_pretrained(speaker_exp, threshold=threshold)
        result = verifier.verify(a, b)
        assert result["decision"] is decision
        assert (result["threshold"], result["threshold_on"]) == (threshold, "score")


def test_the_threshold_of_the_model_is_used(speaker_exp, an4, tmp_path):
    exp = shutil.copytree(speaker_exp, tmp_path / "exp")
    (exp / "threshold.json").write_text('{"cosine": -0.5}')
    result = SpeakerVerifier.from_pretrained(exp).verify(
        an4["an251-fash-b"], an4["cen8-mmxg-b"]
    )
    assert result["threshold"] == -0.5
    assert result["decision"] is (result["score"] >= -0.5)
    given = SpeakerVerifier.from_pretrained(exp, threshold=0.9)
    assert given.verify(an4["an251-fash-b"], an4["cen8-mmxg-b"])["threshold"] == 0.9


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[1]",
        "[" * 100_000,
        '{"cosine": "x"}',
        '{"cosine": NaN}',
        '{"cosine": true}',
        '{"cosine": -Infinity}',
        f'{{"cosine": {"9" * 400}}}',
        f'{{"cosine": {"9" * 5000}}}',
    ],
)
def test_a_damaged_threshold_is_named(tmp_path, text):
    (tmp_path / "threshold.json").write_text(text)
    with pytest.raises(SVError, match=r"threshold\.json"):
        ScoreDecision.load(tmp_path)


@pytest.mark.parametrize("threshold", [math.nan, math.inf])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(SVError, match="threshold"):
        ScoreDecision(threshold=threshold)


def test_a_calibration_beside_the_config_gives_ratios_and_decides(
    speaker_exp, an4, tmp_path
):
    a, b, c = (an4[name] for name in ("an251-fash-b", "an253-fash-b", "cen8-fcaw-b"))
    exp = shutil.copytree(speaker_exp, tmp_path / "exp")
    weights = {"duration": (1.5, 0.5), "magnitude": (-1.0, 2.0)}
    Calibration(2.0, 0.25, weights, {}).save(exp / "calibration.json")
    (exp / "threshold.json").write_text(
        '{"cosine": 0.1}'
    )  # the calibration goes before it
    result = SpeakerVerifier.from_pretrained(exp, p_target=0.01).verify([a, b], c)

    speech2embedding = Speech2Embedding.from_pretrained(speaker_exp)
    waves = [read_audio(str(path), 16000) for path in (a, b, c)]
    seconds = [len(wave) / 16000 for wave in waves]
    lengths = [float(speech2embedding(wave).norm()) for wave in waves]
    durations = np.log(sorted([seconds[0] + seconds[1], seconds[2]]))
    magnitudes = np.log(sorted([(lengths[0] + lengths[1]) / 2, lengths[2]]))
    expected = (
        2.0 * result["score"] + 0.25 + durations @ [1.5, 0.5] + magnitudes @ [-1.0, 2.0]
    )
    assert result["llr"] == pytest.approx(expected, abs=1e-4)
    assert result["threshold"] == pytest.approx(np.log(99))
    assert (result["decision"], result["threshold_on"]) == (
        expected >= np.log(99),
        "llr",
    )
    assert json.loads(json.dumps(result)) == result  # plain numbers

    given = SpeakerVerifier.from_pretrained(exp, threshold=0.0).verify([a, b], c)
    assert given["llr"] == pytest.approx(result["llr"])
    assert given["threshold_on"] == "score"


def test_a_calibration_that_needs_a_cohort_is_refused():
    with pytest.raises(SVError, match="cohort_mean"):
        ScoreDecision(Calibration(1.0, 0.0, {"cohort_mean": (1.0, 1.0)}, {}))


def test_a_prior_must_be_a_probability():
    with pytest.raises(SVError, match="p_target"):
        ScoreDecision(p_target=1.0)


@pytest.mark.parametrize("bad", ["nowhere.wav", np.zeros(0), np.zeros(50), []])
def test_bad_recordings_are_refused_in_one_line(verifier, an4, bad):
    with pytest.raises(SVError) as error:
        verifier.verify(bad, an4["an251-fash-b"])
    assert "\n" not in str(error.value)


def test_a_bad_file_is_named(verifier, tmp_path, an4):
    soundfile.write(tmp_path / "short.wav", np.full(40, 0.1), 16000)
    with pytest.raises(SVError, match=r"short\.wav: .*too short"):
        verifier.verify(an4["an251-fash-b"], tmp_path / "short.wav")


@pytest.mark.parametrize("peak", [0, 0.4 / 2**15])
def test_silence_is_refused_and_named(verifier, tmp_path, an4, peak):
    samples = np.full(16000, peak, np.float32)
    soundfile.write(tmp_path / "silent.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(SVError, match=r"silent\.wav: .*silent"):
        verifier.verify(tmp_path / "silent.wav", an4["an251-fash-b"])
    with pytest.raises(SVError, match="silent"):
        verifier.enroll("nobody", [an4["an251-fash-b"], samples])
    assert "nobody" not in verifier.speakers


def test_a_channel_of_files_can_be_chosen(verifier, speaker_exp, tmp_path, an4):
    speech, rate = soundfile.read(an4["an251-fash-b"])
    soundfile.write(tmp_path / "two.wav", np.stack([speech, -speech], 1), rate)
    with pytest.raises(SVError, match=r"two\.wav: its channels cancel each other"):
        verifier.embed(tmp_path / "two.wav")
    first = SpeakerVerifier.from_pretrained(speaker_exp, channel=1)
    result = first.verify(tmp_path / "two.wav", speech.astype(np.float32))
    assert result["score"] == pytest.approx(1, abs=1e-4)


def test_noise_is_refused_and_little_speech_warned_about(
    speaker_exp, an4, tmp_path, caplog
):
    pytest.importorskip("silero_vad")
    verifier = SpeakerVerifier.from_pretrained(speaker_exp)
    rng = np.random.default_rng(0)
    noises = [0.1 * rng.standard_normal(48000) for _ in range(2)]
    soundfile.write(tmp_path / "noise.wav", noises[0], 16000)
    speech = an4["cen8-fcaw-b"]
    verifier.enroll("ann", speech)
    for call in (
        lambda: verifier.verify(*noises),
        lambda: verifier.verify(speech, tmp_path / "noise.wav"),
        lambda: verifier.enroll("bob", [speech, tmp_path / "noise.wav"]),
        lambda: verifier.identify(tmp_path / "noise.wav"),
    ):
        with pytest.raises(SVError, match=r": 0\.00 s of speech found") as error:
            call()
        assert "\n" not in str(error.value)
    assert list(verifier.speakers) == ["ann"]

    caplog.clear()
    result = verifier.verify(speech, an4["an253-fash-b"])
    assert 0.25 < result["test_speech"] < 1 < result["enroll_speech"]
    [line] = caplog.messages
    assert "an253-fash-b" in line and "unreliable" in line

    lenient = SpeakerVerifier.from_pretrained(speaker_exp, min_speech=0, warn_speech=0)
    assert lenient.verify(*noises)["test_speech"] == 0
    lenient.enroll("noise", noises)
    off = SpeakerVerifier.from_pretrained(speaker_exp, vad=False)
    assert off.verify(*noises)["score"] > 0.9  # why noise is refused
    assert off.verify(*noises)["test_speech"] is None


def test_recordings_of_an_enrolled_speaker_count_by_seconds(speaker_exp, an4):
    names = ("cen7-fash-b", "an251-fash-b", "an253-fash-b")
    together = SpeakerVerifier.from_pretrained(speaker_exp)
    together.enroll("ann", [an4[name] for name in names])
    apart = SpeakerVerifier.from_pretrained(speaker_exp)
    for name in names:
        apart.enroll("ann", an4[name])
    one, other = together.speakers["ann"], apart.speakers["ann"]
    np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
    assert one.recordings == other.recordings == 3
    without = SpeakerVerifier.from_pretrained(speaker_exp, vad=False)
    without.enroll("ann", [an4[name] for name in names])
    rows, seconds = [], []
    for name in names:
        rows.append(unit(speaker_exp, an4[name]))
        seconds.append(len(read_audio(str(an4[name]), 16000)))
    expected = np.array(seconds) @ np.stack(rows)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(without.speakers["ann"].embedding, expected, atol=1e-5)
    together.enroll("ann", an4[names[0]], replace=True)
    assert together.speakers["ann"].recordings == 1
    together.remove("ann")
    with pytest.raises(SVError, match="ann: no speaker"):
        together.remove("ann")


def test_speakers_are_saved_loaded_and_named(speaker_exp, new_exp, an4, tmp_path):
    a, b = an4["cen7-fash-b"], an4["cen8-mmxg-b"]
    verifier = SpeakerVerifier.from_pretrained(speaker_exp)
    verifier.enroll("fash", a)
    verifier.enroll("mmxg", b)
    verifier.save(tmp_path / "speakers")
    again = SpeakerVerifier.from_pretrained(speaker_exp, threshold=0.99999)
    again.load(tmp_path / "speakers")
    assert again.identify(b) == verifier.identify(b)
    assert again.verify("fash", b)["score"] == pytest.approx(
        verifier.verify(a, b)["score"], abs=1e-6
    )
    assert again.identify(b).decision == "mmxg"
    assert again.identify(an4["cen8-fcaw-b"], top_k=1).decision == "unknown"
    assert len(again.identify(b, top_k=1)) == 1
    with pytest.raises(SVError, match="another model"):
        SpeakerVerifier.from_pretrained(new_exp()).load(tmp_path / "speakers")


def test_a_word_is_a_name_or_a_file(verifier, speaker_exp, an4, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verifier = SpeakerVerifier.from_pretrained(speaker_exp)
    path = an4["cen7-fash-b"]
    with pytest.raises(SVError, match="no such audio file"):
        verifier.verify("ann", path)
    verifier.enroll("ann", path)
    expected = verifier.verify(path, path)["score"]
    assert verifier.verify("ann", path)["score"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(SVError, match=r"bob: no speaker .* no such audio file"):
        verifier.verify("bob", path)
    shutil.copy(path, "ann")
    with pytest.raises(SVError, match=r"both .* \./ann"):
        verifier.verify("ann", path)
    verifier.verify("./ann", path)
    for name in ("unknown", ""):
        with pytest.raises(SVError, match="name"):
            verifier.enroll(name, path)


def test_stores_of_a_run_and_of_its_archive_are_one(zoo, speaker_exp, an4, tmp_path):
    """The fingerprint is that of the weights, however they are packed."""
    from espnet2_sv.packaging.pack import pack_model

    for exp, formats in ((speaker_exp, ["sv"]), (zoo.adaptor(), ["sv", "joint"])):
        expected = SpeakerVerifier.from_pretrained(exp).fingerprint()
        for kind in formats:
            pack_model(exp, tmp_path / f"{kind}.zip", package_format=kind)
            packed = SpeakerVerifier.from_pretrained(tmp_path / f"{kind}.zip")
            assert packed.fingerprint() == expected
