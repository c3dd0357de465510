"""Cosine scores of embeddings, and the mean vectors of enrolled speakers."""

from collections.abc import Sequence

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.parallel import for_each_chunk

ENROLL_MODES = ("mean_embedding", "mean_score")
_CHUNK = 2048  # products computed at once, per thread


def length_normalise(embeddings: np.ndarray, overwrite: bool = False) -> np.ndarray:
    """Scale embeddings (M, E) to unit length, as float32.

    Args:
        embeddings: (M, E).
        overwrite: Work in place if ``embeddings`` is float32 already.

    Raises:
        SVError: A row is all zero, or holds NaN or Inf; the row number is named.
    """
    embeddings = np.asarray(embeddings, np.float32)
    norms = _norms(embeddings)[:, None]
    return np.divide(embeddings, norms, out=embeddings if overwrite else None)


def _norms(embeddings: np.ndarray) -> np.ndarray:
    """Norms (M,) of float32 embeddings (M, E), none of them zero, NaN or Inf."""
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))
    bad = ~(np.isfinite(norms) & (norms > 0))
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if norms[row] == 0 else "NaN or Inf"
        raise SVError(f"embedding in row {row} is {what}: its cosine is undefined")
    return norms


def enrolment_vectors(
    models: Sequence[Sequence[int] | np.ndarray],
    unit: np.ndarray,
    mode: str = "mean_embedding",
) -> np.ndarray:
    """One vector per enrolled speaker; its product with a test vector is the score.

    Args:
        models: For each of M speakers, row numbers in ``unit``.
        unit: (N, E) length-normalised embeddings.
        mode: ``mean_embedding`` is the cosine with the mean of the speaker's unit
            vectors; ``mean_score`` the mean of the cosines with each, for which the
            mean vector is not length-normalised.

    Returns:
        (M, E) float32.

    Raises:
        SVError: The mode is unknown, or a mean is zero.
    """
    if mode not in ENROLL_MODES:
        raise SVError(f"enrolment mode {mode}: choose one of {', '.join(ENROLL_MODES)}")
    from scipy.sparse import csr_array

    sizes = np.array([len(rows) for rows in models])
    weights = np.repeat((1 / sizes).astype(np.float32), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    means = (
        csr_array((weights, np.concatenate(models), starts), (len(models), len(unit)))
        @ unit
    )
    return length_normalise(means) if mode == "mean_embedding" else means


def row_products(
    left: np.ndarray,
    right: np.ndarray,
    left_index: np.ndarray,
    right_index: np.ndarray,
) -> np.ndarray:
    """Inner products of pairs of rows.

    Args:
        left: (M, E) float32.
        right: (N, E) float32.
        left_index: (K,) row of ``left`` for each product.
        right_index: (K,) row of ``right`` for each product.

    Returns:
        (K,) float32.
    """
    products = np.empty(len(left_index), np.float32)

    def work(part: slice) -> None:
        rows = (
            left.take(left_index[part], axis=0),
            right.take(right_index[part], axis=0),
        )
        np.einsum("ij,ij->i", *rows, out=products[part])

    for_each_chunk(work, len(products), _CHUNK)
    return products


def cosine_scores(
    enroll: np.ndarray,
    test: np.ndarray,
    enroll_index: np.ndarray,
    test_index: np.ndarray,
) -> np.ndarray:
    """Cosine of pairs of embeddings.

    Args:
        enroll: (M, E) embeddings, of any norm.
        test: (N, E) embeddings, of any norm.
        enroll_index: (K,) row of ``enroll`` for each trial.
        test_index: (K,) row of ``test`` for each trial.

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
            "they need the same dimension; extract both with one model"
        )
    enroll_norms = _norms(enroll)
    test_norms = enroll_norms if same else _norms(test)
    enroll_index, test_index = np.asarray(enroll_index), np.asarray(test_index)
    scores = row_products(enroll, test, enroll_index, test_index)
    scores /= enroll_norms[enroll_index]
    scores /= test_norms[test_index]
    return scores
