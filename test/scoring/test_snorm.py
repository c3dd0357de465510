import logging

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring import score_norm as snorm
from espnet2_sv.scoring.cosine import length_normalise
from espnet2_sv.scoring.score_norm import (
    Cohort,
    cohort_statistics,
    normalise_scores,
    torch_reducer,
)

RNG = np.random.default_rng(0)
VECTORS = length_normalise(RNG.normal(size=(23, 16)))
IMPOSTORS = length_normalise(RNG.normal(size=(40, 16)))
OF_VECTORS = RNG.integers(-1, 6, 23)  # -1 is nobody in the cohort
OF_IMPOSTORS = RNG.integers(0, 8, 40)


def brute_force(top_n, exclude):
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
    """Both ways of working; torch on the processor, where there is no GPU to ask."""
    if request.param == "torch":
        on_cpu = lambda cohort: torch_reducer(cohort, "cpu")  # noqa: E731
        monkeypatch.setattr(snorm, "numpy_reducer", on_cpu)


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("top_n", [None, 2, 10])
@pytest.mark.usefixtures("reducer")
def test_statistics_equal_brute_force(top_n, exclude, monkeypatch):
    monkeypatch.setattr(snorm, "_BLOCK_ELEMENTS", 7 * 40)  # several blocks
    speakers = OF_VECTORS if exclude else None
    found = cohort_statistics(VECTORS, Cohort(IMPOSTORS, OF_IMPOSTORS), top_n, speakers)
    np.testing.assert_allclose(found, brute_force(top_n, exclude), atol=1e-6)


def test_scores_are_measured_from_both_sides():
    scores = np.array([1.0, 2.0])
    enroll, test = (
        np.array([[0.5, 0.5], [0.5, 1.0]]),
        np.array([[1.0, 0.0], [2.0, 4.0]]),
    )
    assert normalise_scores(scores, enroll, None).tolist() == [1.0, 1.5]
    assert normalise_scores(scores, None, test).tolist() == [0.0, 0.5]
    assert normalise_scores(scores, enroll, test).tolist() == [0.5, 1.0]


def test_small_cohort_is_taken_whole_and_reported(caplog):
    with caplog.at_level(logging.WARNING):
        found = cohort_statistics(VECTORS, Cohort(IMPOSTORS), 300)
    np.testing.assert_allclose(found, brute_force(None, exclude=False), atol=1e-6)
    assert "only 40 impostors for a top 300" in caplog.text


def test_refuses_cohorts_that_cannot_normalise():
    with pytest.raises(SVError, match="cohort of 1 impostors"):
        cohort_statistics(VECTORS, Cohort(IMPOSTORS[:1]), 10)
    with pytest.raises(SVError, match="16 dimensions, the cohort's 8"):
        cohort_statistics(VECTORS, Cohort(IMPOSTORS[:, :8]), 10)
    with pytest.raises(SVError, match="score the same"):
        cohort_statistics(VECTORS, Cohort(np.repeat(IMPOSTORS[:1], 5, axis=0)), 3)


def test_no_gpu_is_one_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SVError, match="no GPU is available"):
        cohort_statistics(VECTORS, Cohort(IMPOSTORS), 10, ngpu=1)
