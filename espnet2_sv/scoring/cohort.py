"""Scores against a cohort, reduced to mean and standard deviation: blocked products, NumPy or GPU.

A reducer takes vectors (B, E), how many of the highest scores to keep (None for all),
and the rows and columns of the (B, C) scores that are left out. It returns two (B,)
float64 arrays.
"""

from collections.abc import Callable

import numpy as np

from espnet2_sv.errors import SVError

Reducer = Callable[
    [np.ndarray, int | None, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]
]


def numpy_reducer(cohort: np.ndarray) -> Reducer:
    """Reduce against a cohort (C, E) on the processor."""

    def reduce(vectors, top_n, rows, columns):
        scores = vectors @ cohort.T
        if top_n is None:
            return _masked(scores, rows, columns)
        scores[rows, columns] = -np.inf
        # Selecting without sorting is linear in the cohort.
        scores.partition(scores.shape[1] - top_n, axis=1)
        best = scores[:, -top_n:]
        return best.mean(1, np.float64), best.std(1, np.float64)

    return reduce


def _masked(
    scores: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    count = scores.shape[1] - np.bincount(rows, minlength=len(scores))
    scores[rows, columns] = 0
    mean = scores.sum(1, np.float64) / count
    scores -= mean[:, None].astype(scores.dtype)
    scores[rows, columns] = 0
    return mean, np.sqrt(np.einsum("ij,ij->i", scores, scores) / count)


def torch_reducer(cohort: np.ndarray, device: str) -> Reducer:
    """Reduce against a cohort (C, E) with torch.

    Raises:
        SVError: ``device`` is a GPU and there is none.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SVError("no GPU is available; use --ngpu 0")
    transposed = torch.from_numpy(np.ascontiguousarray(cohort.T)).to(device)

    def reduce(vectors, top_n, rows, columns):
        scores = torch.from_numpy(vectors).to(device) @ transposed
        leave_out = torch.zeros_like(scores, dtype=torch.bool)
        leave_out[
            torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
        ] = True
        if top_n is not None:
            scores = (
                scores.masked_fill(leave_out, -torch.inf)
                .topk(top_n, sorted=False)
                .values
            )
            leave_out = torch.zeros_like(scores, dtype=torch.bool)
        count = (~leave_out).sum(1)
        scores = scores.double().masked_fill(leave_out, 0)
        mean = scores.sum(1) / count
        centred = (scores - mean[:, None]).masked_fill(leave_out, 0)
        return (
            mean.cpu().numpy(),
            (centred.square().sum(1) / count).sqrt().cpu().numpy(),
        )

    return reduce
