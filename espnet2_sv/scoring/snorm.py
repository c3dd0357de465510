"""Score normalisation against a cohort of impostors.

A score is measured in standard deviations from what its enrolment side scores against
the cohort (Z-norm), from what its test side does (T-norm), or from the mean of both
(S-norm). Adaptive S-norm takes each side's most similar impostors only (Matejka et al.,
Interspeech 2017).
"""

import logging
from dataclasses import dataclass

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cohort import numpy_reducer, torch_reducer

METHODS = ("as_norm", "s_norm", "z_norm", "t_norm")
_BLOCK_ELEMENTS = 1 << 24  # cohort scores in memory at once (64 MiB)


@dataclass(frozen=True)
class Cohort:
    """Impostors.

    Attributes:
        vectors: (C, E) float32 unit vectors.
        speakers: (C,) speaker number of each; None where nobody is to be left out.
    """

    vectors: np.ndarray
    speakers: np.ndarray | None = None


def cohort_statistics(
    vectors: np.ndarray,
    cohort: Cohort,
    top_n: int | None = None,
    speakers: np.ndarray | None = None,
    ngpu: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the scores of each vector against the cohort.

    Args:
        vectors: (N, E) float32; scores are inner products.
        cohort: The impostors.
        top_n: Keep only so many of the highest scores; None for all.
        speakers: (N,) speaker number of each vector, numbered as those of the cohort;
            the cohort's entries of the same speaker are left out. Numbers below 0 match
            nobody.
        ngpu: 1 to work on a GPU.

    Returns:
        Two (N,) float64 arrays.

    Raises:
        SVError: Dimensions differ, fewer than two impostors are left for a vector, or a
            standard deviation is 0.
    """
    if vectors.shape[1] != cohort.vectors.shape[1]:
        raise SVError(
            f"embeddings have {vectors.shape[1]} dimensions, the cohort's "
            f"{cohort.vectors.shape[1]}; extract both with one model"
        )
    own = _own_entries(cohort, speakers)
    left = len(cohort.vectors) - max(
        (len(entries) for entries in own.values()), default=0
    )
    if left < 2:
        raise SVError(
            f"a cohort of {left} impostors cannot normalise scores; give a larger one"
        )
    if top_n is not None and top_n > left:
        logging.warning(
            f"the cohort has only {left} impostors for a top {top_n}; taking {left}"
        )
        top_n = left
    reduce = (
        torch_reducer(cohort.vectors, "cuda") if ngpu else numpy_reducer(cohort.vectors)
    )
    mean, deviation = np.empty((2, len(vectors)))
    step = max(_BLOCK_ELEMENTS // len(cohort.vectors), 1)
    for start in range(0, len(vectors), step):
        part = slice(start, min(start + step, len(vectors)))
        rows, columns = _left_out(own, None if speakers is None else speakers[part])
        mean[part], deviation[part] = reduce(vectors[part], top_n, rows, columns)
    if not deviation.all():
        raise SVError(
            "all impostors score the same against an embedding; give another cohort"
        )
    return mean, deviation


def normalise_scores(
    scores: np.ndarray, enroll: np.ndarray | None, test: np.ndarray | None
) -> np.ndarray:
    """Normalise scores (K,) with the mean and deviation (2, K) that each trial's sides have.

    One side alone gives Z-norm or T-norm; both give S-norm.
    """
    sides = [
        (scores - side[0]) / side[1] for side in (enroll, test) if side is not None
    ]
    return sum(sides) / len(sides)


def _own_entries(cohort: Cohort, speakers: np.ndarray | None) -> dict[int, np.ndarray]:
    """Rows of the cohort by speaker, for the speakers that occur in ``speakers``."""
    if speakers is None or cohort.speakers is None:
        return {}
    order = np.argsort(cohort.speakers, kind="stable")
    numbers, starts = np.unique(cohort.speakers[order], return_index=True)
    rows = dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))
    return {s: rows[s] for s in np.unique(speakers).tolist() if s in rows and s >= 0}


def _left_out(
    own: dict[int, np.ndarray], speakers: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Row of a block and column of the cohort, of each score to leave out."""
    found = (
        []
        if speakers is None
        else [(i, s) for i, s in enumerate(speakers.tolist()) if s in own]
    )
    if not found:
        return np.zeros((2, 0), np.int64)
    columns = [own[speaker] for _, speaker in found]
    rows = np.repeat([row for row, _ in found], [len(c) for c in columns])
    return rows, np.concatenate(columns)
