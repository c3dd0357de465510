"""The one score of this project: the cosine of two embeddings."""

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.parallel import for_each_chunk


def length_normalise(embeddings: np.ndarray, overwrite: bool = False) -> np.ndarray:
    """Scale embeddings (M, E) to unit length, as float32.

    Args:
        embeddings: (M, E).
        overwrite: Work in place where ``embeddings`` is float32 already.

    Raises:
        SVError: A row is all zero, or holds NaN or Inf; the row number is named.
    """
    embeddings = np.asarray(embeddings, np.float32)
    norms = _norms(embeddings)[:, None]
    return np.divide(embeddings, norms, out=embeddings if overwrite else None)


def _norms(embeddings: np.ndarray) -> np.ndarray:
    """Lengths (M,) of float32 embeddings (M, E), refusing those without direction."""
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))
    bad = ~(np.isfinite(norms) & (norms > 0))
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if norms[row] == 0 else "NaN or Inf"
        raise SVError(f"embedding in row {row} is {what}: it has no direction")
    return norms


def row_products(
    left: np.ndarray,
    right: np.ndarray,
    left_index: np.ndarray,
    right_index: np.ndarray,
    chunk: int = 2048,
) -> np.ndarray:
    """Inner products (K,) float32 of the rows of (M, E) and (N, E) that (K,) indices name."""
    products = np.empty(len(left_index), np.float32)

    def work(part: slice) -> None:
        rows = (
            left.take(left_index[part], axis=0),
            right.take(right_index[part], axis=0),
        )
        np.einsum("ij,ij->i", *rows, out=products[part])

    for_each_chunk(work, len(products), chunk)
    return products


def cosine_scores(
    enroll: np.ndarray,
    test: np.ndarray,
    enroll_index: np.ndarray,
    test_index: np.ndarray,
    chunk: int = 2048,
) -> np.ndarray:
    """Cosine of the pairs of rows that the trials name.

    Args:
        enroll: (M, E) embeddings of any length.
        test: (N, E) embeddings of any length.
        enroll_index: (K,) row of ``enroll`` for each trial.
        test_index: (K,) row of ``test`` for each trial.
        chunk: Trials in memory at once, per thread.

    Returns:
        (K,) float32 scores between -1 and 1.

    Raises:
        SVError: The two sides differ in dimension, or an embedding is zero, NaN or Inf.
    """
    same = test is enroll
    enroll, test = np.asarray(enroll, np.float32), np.asarray(test, np.float32)
    if enroll.ndim != 2 or test.ndim != 2 or enroll.shape[1] != test.shape[1]:
        raise SVError(
            f"enrolment embeddings are {enroll.shape}, test embeddings {test.shape}: "
            "both are (number, dimension) of one dimension; extract them with one model"
        )
    enroll_norms = _norms(enroll)
    test_norms = enroll_norms if same else _norms(test)
    enroll_index, test_index = np.asarray(enroll_index), np.asarray(test_index)
    scores = row_products(enroll, test, enroll_index, test_index, chunk)
    scores /= enroll_norms[enroll_index]
    scores /= test_norms[test_index]
    return scores
