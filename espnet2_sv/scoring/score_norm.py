"""Score normalisation against a cohort of impostors: AS-norm, S-norm, Z-norm, T-norm.

Z-norm expresses a score in standard deviations from the mean score of its enrolment
side against the cohort, T-norm in those of its test side; S-norm averages the two.
Adaptive S-norm (AS-norm) uses only the highest-scoring impostors of each side (Matejka
et al., "Analysis of score normalization in multilingual speaker recognition",
Interspeech 2017).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import enrolment_vectors
from espnet2_sv.scoring.embeddings import TrialVectors, read_embeddings, unit_vectors
from espnet2_sv.scoring.trials import read_joined

METHODS = ("as_norm", "s_norm", "z_norm", "t_norm")
_BLOCK_ELEMENTS = 1 << 24  # cohort scores in memory at once (64 MiB)

# (vectors (B, E), number of highest scores to keep or None for all, rows and columns of
# the (B, C) cohort scores to exclude) -> mean (B,) and standard deviation (B,), float64
Reducer = Callable[
    [np.ndarray, int | None, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]
]


@dataclass(frozen=True)
class Cohort:
    """Impostors.

    Attributes:
        vectors: (C, E) float32 unit vectors.
        speakers: (C,) speaker number of each; None if no impostor is to be excluded.
        utterances: Speaker of each utterance that impostors are made of; None where
            speakers are unknown.
    """

    vectors: np.ndarray
    speakers: np.ndarray | None = None
    utterances: Mapping[str, str | None] = field(default_factory=dict)


def read_cohort(
    scp: str | PathLike,
    utt2spk: str | PathLike | None = None,
    by: str | None = None,
    mean: np.ndarray | None = None,
) -> tuple[Cohort, dict[str, int]]:
    """Read the impostors.

    Args:
        scp: Their embeddings by utterance.
        utt2spk: Their speakers.
        by: ``speaker`` makes one impostor per speaker, the mean of the
            length-normalised embeddings; ``utterance`` one per utterance. The default
            is ``speaker`` if ``utt2spk`` is given.
        mean: (E,) subtracted from every embedding first.

    Returns:
        The cohort and the number of each speaker in it.

    Raises:
        SVError: As :func:`~espnet2_sv.scoring.embeddings.read_embeddings`; or an
            utterance has no speaker.
    """
    names, embeddings = read_embeddings(scp)
    unit = unit_vectors(scp, embeddings, mean)
    if utt2spk is None:
        if by == "speaker":
            raise SVError(f"{scp}: a cohort of speakers needs its utt2spk")
        return Cohort(unit, None, dict.fromkeys(names)), {}
    speaker_of = read_joined([utt2spk])
    missing = [name for name in names if name not in speaker_of]
    if missing:
        raise SVError(
            f"{utt2spk}: has no speaker for {missing[0]} ({len(missing)} are missing)"
        )
    utterances: dict[str, str | None] = {name: speaker_of[name] for name in names}
    numbers = {s: i for i, s in enumerate(sorted({speaker_of[name] for name in names}))}
    speakers = np.array([numbers[speaker_of[name]] for name in names])
    if by == "utterance":
        return Cohort(unit, speakers, utterances), numbers
    order = np.argsort(speakers, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(speakers))[:-1])
    means = enrolment_vectors(rows, unit)
    return Cohort(means, np.arange(len(numbers)), utterances), numbers


def require_other_impostors(
    cohort: Cohort,
    utterances_of: Mapping[str, Sequence[str]],
    utt2spk: Mapping[str, str] | None = None,
) -> None:
    """Refuse a cohort in which tested utterances would meet themselves.

    Args:
        cohort: The impostors.
        utterances_of: The utterances of each name in the trials.
        utt2spk: Speakers of these names, if each speaker is excluded from its own
            cohort: its utterances may then be there.

    Raises:
        SVError: A tested utterance is in the cohort, and is not excluded from it.
    """
    met = [
        utterance
        for name, utterances in utterances_of.items()
        for utterance in utterances
        if utterance in cohort.utterances
        and (utt2spk is None or cohort.utterances[utterance] != utt2spk.get(name))
    ]
    if not met:
        return
    advice = "give --utt2spk and --cohort_utt2spk to exclude them, or another cohort"
    if utt2spk is not None:
        advice = "their speakers there and in --utt2spk differ"
    raise SVError(
        f"{len(set(met))} utterances of the cohort are also in the trials, e.g."
        f" {min(met)}, and would meet themselves as impostors; {advice}"
    )


def normalise_trials(
    vectors: TrialVectors,
    scores: np.ndarray,
    cohort: Cohort,
    numbers: Mapping[str, int],
    utt2spk: Mapping[str, str] | None = None,
    method: str = "as_norm",
    top_n: int = 300,
    ngpu: int = 0,
) -> np.ndarray:
    """Normalise the scores of a trial list.

    Args:
        vectors: What the trials compare.
        scores: (K,) their scores.
        cohort: The impostors.
        numbers: Number of each speaker in the cohort.
        utt2spk: Speakers of the names in the list, to exclude a side's own speaker from
            its cohort; None excludes nobody.
        method: One of :data:`METHODS`.
        top_n: Number of impostors that ``as_norm`` keeps.
        ngpu: 1 to use a GPU.

    Returns:
        (K,) float32.

    Raises:
        SVError: As :func:`cohort_statistics`; the method is unknown, ``top_n`` is less
            than 2, or a name has no speaker.
    """
    if method not in METHODS:
        raise SVError(
            f"score normalisation {method}: choose one of {', '.join(METHODS)}"
        )
    if method == "as_norm" and top_n < 2:
        raise SVError(f"top_n={top_n}: a standard deviation needs at least 2 impostors")
    kept = top_n if method == "as_norm" else None

    def side(rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        speakers = (
            None if utt2spk is None else _speaker_numbers(names, utt2spk, numbers)
        )
        return np.stack(cohort_statistics(rows, cohort, kept, speakers, ngpu))

    enroll = test = None
    if method != "t_norm":
        enroll = side(vectors.enroll, vectors.enroll_names)
    if method != "z_norm":
        same = enroll is not None and vectors.enroll is vectors.test
        test = enroll if same else side(vectors.test, vectors.test_names)
    return normalise_scores(
        scores,
        None if enroll is None else enroll[:, vectors.enroll_index],
        None if test is None else test[:, vectors.test_index],
    ).astype(np.float32)


def normalise_scores(
    scores: np.ndarray, enroll: np.ndarray | None, test: np.ndarray | None
) -> np.ndarray:
    """Normalise scores with the cohort statistics of one or both sides.

    Args:
        scores: (K,).
        enroll: (2, K) mean and standard deviation of each trial's enrolment side; alone
            gives Z-norm.
        test: (2, K) those of its test side; alone gives T-norm, both give S-norm.

    Returns:
        (K,) normalised scores.
    """
    sides = [
        (scores - side[0]) / side[1] for side in (enroll, test) if side is not None
    ]
    return sum(sides) / len(sides)


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
        top_n: How many of the highest scores to keep; None for all.
        speakers: (N,) speaker number of each vector, numbered as in the cohort;
            impostors of the same speaker are excluded. Negative numbers match nobody.
        ngpu: 1 to compute on a GPU.

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
            f"the cohort has only {left} impostors for a top {top_n}; using {left}"
        )
        top_n = left
    reduce = (
        torch_reducer(cohort.vectors, "cuda") if ngpu else numpy_reducer(cohort.vectors)
    )
    mean, deviation = np.empty((2, len(vectors)))
    step = max(_BLOCK_ELEMENTS // len(cohort.vectors), 1)
    for start in range(0, len(vectors), step):
        part = slice(start, min(start + step, len(vectors)))
        rows, columns = _excluded(own, None if speakers is None else speakers[part])
        mean[part], deviation[part] = reduce(vectors[part], top_n, rows, columns)
    if not deviation.all():
        raise SVError(
            "all impostors have the same score against an embedding; give another"
            " cohort"
        )
    return mean, deviation


def _speaker_numbers(
    names: Sequence[str], utt2spk: Mapping[str, str], numbers: Mapping[str, int]
) -> np.ndarray:
    """Cohort number (N,) of each name's speaker; -1 if the speaker is not in it."""
    missing = [name for name in names if name not in utt2spk]
    if missing:
        raise SVError(
            f"utt2spk: has no speaker for {missing[0]} ({len(missing)} are missing)"
        )
    return np.array([numbers.get(utt2spk[name], -1) for name in names])


def _own_entries(cohort: Cohort, speakers: np.ndarray | None) -> dict[int, np.ndarray]:
    """Rows of the cohort by speaker, for the speakers that occur in ``speakers``."""
    if speakers is None or cohort.speakers is None:
        return {}
    order = np.argsort(cohort.speakers, kind="stable")
    numbers, starts = np.unique(cohort.speakers[order], return_index=True)
    rows = dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))
    return {s: rows[s] for s in np.unique(speakers).tolist() if s in rows and s >= 0}


def _excluded(
    own: dict[int, np.ndarray], speakers: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Row in the block and column of the cohort of each score to exclude."""
    found = (
        []
        if speakers is None
        else [(i, s) for i, s in enumerate(speakers.tolist()) if s in own]
    )
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = [own[speaker] for _, speaker in found]
    rows = np.repeat([row for row, _ in found], [len(c) for c in columns])
    return rows, np.concatenate(columns)


def numpy_reducer(cohort: np.ndarray) -> Reducer:
    """Return a reducer of scores against a cohort (C, E) that runs on the CPU."""

    def reduce(vectors, top_n, rows, columns):
        scores = vectors @ cohort.T
        if top_n is None:
            return _masked(scores, rows, columns)
        scores[rows, columns] = -np.inf
        # Selecting without sorting is linear in the size of the cohort.
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
    """Return a reducer of scores against a cohort (C, E) that runs on a torch device.

    Raises:
        SVError: ``device`` is a GPU and none is available.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SVError("no GPU is available; use --ngpu 0")
    transposed = torch.from_numpy(np.ascontiguousarray(cohort.T)).to(device)

    def reduce(vectors, top_n, rows, columns):
        scores = torch.from_numpy(vectors).to(device) @ transposed
        excluded = torch.zeros_like(scores, dtype=torch.bool)
        excluded[
            torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
        ] = True
        if top_n is not None:
            kept = scores.masked_fill(excluded, -torch.inf).topk(top_n, sorted=False)
            scores = kept.values
            excluded = torch.zeros_like(scores, dtype=torch.bool)
        count = (~excluded).sum(1)
        scores = scores.double().masked_fill(excluded, 0)
        mean = scores.sum(1) / count
        centred = (scores - mean[:, None]).masked_fill(excluded, 0)
        deviation = (centred.square().sum(1) / count).sqrt()
        return mean.cpu().numpy(), deviation.cpu().numpy()

    return reduce
