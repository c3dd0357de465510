import logging

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring import score_norm as score_norm
from espnet2_sv.scoring.cosine import length_normalise
from espnet2_sv.scoring.embeddings import TrialVectors
from espnet2_sv.scoring.score_norm import (
    Cohort,
    cohort_statistics,
    normalise_scores,
    normalise_trials,
    read_cohort,
    torch_reducer,
)

RNG = np.random.default_rng(0)
VECTORS = length_normalise(RNG.normal(size=(23, 16)))
IMPOSTORS = length_normalise(RNG.normal(size=(40, 16)))
OF_VECTORS = RNG.integers(-1, 6, 23)  # -1: not in the cohort
OF_IMPOSTORS = RNG.integers(0, 8, 40)


def brute_force_statistics(top_n, exclude):
    rows = []
    for vector, speaker in zip(VECTORS.astype(np.float64), OF_VECTORS, strict=True):
        scores = [
            vector @ impostor
            for impostor, other in zip(
                IMPOSTORS.astype(np.float64), OF_IMPOSTORS, strict=True
            )
            if not exclude or other != speaker
        ]
        best = sorted(scores, reverse=True)[:top_n]
        rows.append((np.mean(best), np.std(best)))
    return np.transpose(rows)


@pytest.fixture(params=["numpy", "torch"])
def reducer(request, monkeypatch):
    """Both reducers; torch on the CPU, because a GPU may be missing."""
    if request.param == "torch":

        def on_cpu(cohort):
            return torch_reducer(cohort, "cpu")

        monkeypatch.setattr(score_norm, "numpy_reducer", on_cpu)


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("top_n", [None, 2, 10])
@pytest.mark.usefixtures("reducer")
def test_statistics_equal_brute_force(top_n, exclude, monkeypatch):
    monkeypatch.setattr(score_norm, "_BLOCK_ELEMENTS", 7 * 40)  # several blocks
    speakers = OF_VECTORS if exclude else None
    found = cohort_statistics(VECTORS, Cohort(IMPOSTORS, OF_IMPOSTORS), top_n, speakers)
    np.testing.assert_allclose(found, brute_force_statistics(top_n, exclude), atol=1e-6)


def test_scores_are_measured_from_both_sides():
    scores = np.array([1.0, 2.0])
    enroll, test = (
        np.array([[0.5, 0.5], [0.5, 1.0]]),
        np.array([[1.0, 0.0], [2.0, 4.0]]),
    )
    assert normalise_scores(scores, enroll, None).tolist() == [1.0, 1.5]
    assert normalise_scores(scores, None, test).tolist() == [0.0, 0.5]
    assert normalise_scores(scores, enroll, test).tolist() == [0.5, 1.0]


def test_small_cohort_is_used_whole_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        found = cohort_statistics(VECTORS, Cohort(IMPOSTORS), 300)
    np.testing.assert_allclose(
        found, brute_force_statistics(None, exclude=False), atol=1e-6
    )
    assert "only 40 impostors for a top 300" in caplog.text


def test_refuses_cohorts_that_cannot_normalise():
    with pytest.raises(SVError, match="cohort of 1 impostors"):
        cohort_statistics(VECTORS, Cohort(IMPOSTORS[:1]), 10)
    with pytest.raises(SVError, match="16 dimensions, the cohort's 8"):
        cohort_statistics(VECTORS, Cohort(IMPOSTORS[:, :8]), 10)
    with pytest.raises(SVError, match="have the same score"):
        cohort_statistics(VECTORS, Cohort(np.repeat(IMPOSTORS[:1], 5, axis=0)), 3)


def test_no_gpu_is_one_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SVError, match="no GPU is available"):
        cohort_statistics(VECTORS, Cohort(IMPOSTORS), 10, ngpu=1)


COHORT = {f"c{i}": RNG.normal(size=8).astype(np.float32) for i in range(12)}
OF_COHORT = {name: f"spk{i % 3}" for i, name in enumerate(COHORT)}


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture
def files(folder):
    lines = (f"{name} {speaker}" for name, speaker in OF_COHORT.items())
    return folder.embeddings("cohort", COHORT), folder.text("utt2spk", *lines)


def test_impostors_are_speaker_means_where_speakers_are_known(files):
    cohort, numbers = read_cohort(*files)
    for speaker, number in numbers.items():
        own = [unit(COHORT[name]) for name in COHORT if OF_COHORT[name] == speaker]
        np.testing.assert_allclose(
            cohort.vectors[number], unit(np.mean(own, axis=0)), atol=1e-6
        )


def test_impostors_are_utterances_otherwise(files):
    expected = np.stack([unit(v) for v in COHORT.values()])
    for cohort, _ in (read_cohort(files[0]), read_cohort(*files, by="utterance")):
        np.testing.assert_allclose(cohort.vectors, expected, atol=1e-6)


def test_mean_is_subtracted_from_impostors_too(files):
    mean = np.full(8, 0.3, np.float32)
    cohort, _ = read_cohort(files[0], mean=mean)
    np.testing.assert_allclose(cohort.vectors[4], unit(COHORT["c4"] - mean), atol=1e-6)


def test_names_a_cohort_utterance_without_speaker(files, folder):
    with pytest.raises(SVError, match=r"has no speaker for c1 \(11 are missing\)"):
        read_cohort(files[0], folder.text("few", "c0 spk0"))


def norm(files, method, names=("a", "b"), utt2spk=None, **options):
    vectors = length_normalise(np.random.default_rng(1).normal(size=(2, 8)))
    index = np.array([0, 0, 1]), np.array([1, 0, 1])
    trials = TrialVectors(vectors, vectors, *index, list(names), list(names))
    scores = np.einsum("ij,ij->i", vectors[index[0]], vectors[index[1]])
    cohort, numbers = read_cohort(*files, by="utterance")
    found = normalise_trials(
        trials, scores, cohort, numbers, utt2spk, method, **options
    )
    statistics = {}
    for i, name in enumerate(names):
        own = utt2spk[name] if utt2spk else None
        against = [
            vectors[i] @ unit(v) for c, v in COHORT.items() if OF_COHORT[c] != own
        ]
        if method == "as_norm":
            against = sorted(against)[-options["top_n"] :]
        statistics[i] = np.mean(against), np.std(against)
    sides = {"z_norm": [0], "t_norm": [1]}.get(method, [0, 1])
    expected = [
        np.mean(
            [(s - statistics[t[side]][0]) / statistics[t[side]][1] for side in sides]
        )
        for s, t in zip(scores, np.transpose(index), strict=True)
    ]
    return found, expected


@pytest.mark.parametrize("utt2spk", [None, {"a": "spk0", "b": "someone else"}])
@pytest.mark.parametrize("method", ["as_norm", "s_norm", "z_norm", "t_norm"])
def test_equals_brute_force(files, method, utt2spk):
    options = {"top_n": 5} if method == "as_norm" else {}
    found, expected = norm(files, method, utt2spk=utt2spk, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_refuses_impossible_requests(files):
    with pytest.raises(SVError, match="has no speaker for b"):
        norm(files, "s_norm", utt2spk={"a": "spk0"})
    with pytest.raises(SVError, match="choose one of as_norm"):
        norm(files, "x_norm")
    with pytest.raises(SVError, match="at least 2 impostors"):
        norm(files, "as_norm", top_n=1)
