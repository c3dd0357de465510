"""The vectors that trials compare: one per test utterance and per enrolled speaker."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from espnet2_sv.data.kaldi import read_spk2utt
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import length_normalise
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.scoring.pairs import Pairs

ENROLL_MODES = ("mean_embedding", "mean_score")


def enrolment_vectors(
    models: Sequence[Sequence[int]], unit: np.ndarray, mode: str = "mean_embedding"
) -> np.ndarray:
    """One vector per enrolled speaker, whose product with a test's unit vector is the score.

    Args:
        models: For each of M speakers, rows of ``unit``.
        unit: (N, E) length-normalised embeddings.
        mode: ``mean_embedding`` is the cosine with the mean of the speaker's unit
            vectors; ``mean_score`` the mean of the cosines with each (the mean left at
            its length).

    Returns:
        (M, E) float32.
    """
    if mode not in ENROLL_MODES:
        raise SVError(f"enrolment mode {mode}: choose one of {', '.join(ENROLL_MODES)}")
    from scipy.sparse import csr_array

    sizes = np.array([len(rows) for rows in models])
    shares = np.repeat((1 / sizes).astype(np.float32), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    means = (
        csr_array((shares, np.concatenate(models), starts), (len(models), len(unit)))
        @ unit
    )
    return length_normalise(means) if mode == "mean_embedding" else means


@dataclass(frozen=True)
class TrialVectors:
    """Vectors whose inner products are the scores of a list.

    Attributes:
        enroll: (M, E) float32.
        test: (N, E) float32 unit vectors; the same array as ``enroll`` where both sides
            of the list are utterances of one set, so that nothing is read or normalised
            twice.
        enroll_index: (K,) row of ``enroll`` for each trial.
        test_index: (K,) row of ``test`` for each trial.
        enroll_names: The M names.
        test_names: The N names.
        mean: (E,) that was subtracted from the embeddings, if any.
    """

    enroll: np.ndarray
    test: np.ndarray
    enroll_index: np.ndarray
    test_index: np.ndarray
    enroll_names: list[str]
    test_names: list[str]
    mean: np.ndarray | None = None


def read_trial_vectors(
    pairs: Pairs,
    enroll_scp: str | PathLike,
    test_scp: str | PathLike,
    wanted_by: str,
    spk2utt: str | PathLike | None = None,
    mode: str = "mean_embedding",
    mean_scp: str | PathLike | None = None,
) -> TrialVectors:
    """Read the vectors that a list compares.

    Args:
        pairs: The list.
        enroll_scp: Embeddings of the enrolment side, by utterance or by model.
        test_scp: Embeddings of the test side.
        wanted_by: The list's name, for messages.
        spk2utt: ``model utt1 utt2 ...`` lines where several utterances enrol one model.
        mode: How they do; see :func:`enrolment_vectors`.
        mean_scp: A set whose mean is subtracted from every embedding before
            length-normalising.

    Raises:
        SVError: As :func:`~espnet2_sv.scoring.embeddings.read_embeddings`; a model is
            unknown; the two sides have different dimensions; an utterance of
            ``mean_scp`` is tested.
    """
    enrolled = (
        None if spk2utt is None else _models(spk2utt, pairs.enroll_names, wanted_by)
    )
    utterances = (
        pairs.enroll_names
        if enrolled is None
        else sorted({u for m in enrolled for u in m})
    )
    mean = None
    if mean_scp is not None:
        mean = read_mean(mean_scp, {*utterances, *pairs.test_names})
    if enrolled is None and os.path.realpath(enroll_scp) == os.path.realpath(test_scp):
        names = list(dict.fromkeys([*pairs.enroll_names, *pairs.test_names]))
        row = {name: i for i, name in enumerate(names)}
        unit = unit_vectors(
            test_scp, read_embeddings(test_scp, names, wanted_by)[1], mean
        )
        enroll_rows, test_rows = (
            np.array([row[name] for name in side])
            for side in (pairs.enroll_names, pairs.test_names)
        )
        rows = enroll_rows[pairs.enroll_index], test_rows[pairs.test_index]
        return TrialVectors(unit, unit, *rows, names, names, mean)
    enroll = read_embeddings(enroll_scp, utterances, spk2utt or wanted_by)[1]
    enroll = unit_vectors(enroll_scp, enroll, mean)
    if enrolled is not None:
        row = {utterance: i for i, utterance in enumerate(utterances)}
        enroll = enrolment_vectors(
            [[row[u] for u in model] for model in enrolled], enroll, mode
        )
    test = unit_vectors(
        test_scp, read_embeddings(test_scp, pairs.test_names, wanted_by)[1], mean
    )
    if enroll.shape[1] != test.shape[1]:
        raise SVError(
            f"{enroll_scp} has embeddings of {enroll.shape[1]} dimensions, {test_scp}"
            f" of {test.shape[1]}; extract both with one model"
        )
    rows = pairs.enroll_index, pairs.test_index
    return TrialVectors(enroll, test, *rows, pairs.enroll_names, pairs.test_names, mean)


def unit_vectors(
    scp: str | PathLike, embeddings: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Subtract ``mean`` (E,) where given and length-normalise embeddings (N, E), in place.

    Raises:
        SVError: Dimensions differ, or an embedding equals the mean.
    """
    if mean is not None:
        if len(mean) != embeddings.shape[1]:
            raise SVError(
                f"{scp}: embeddings have {embeddings.shape[1]} dimensions, the mean to"
                f" subtract has {len(mean)}; extract both with one model"
            )
        embeddings -= mean
    return length_normalise(embeddings, overwrite=True)


def read_mean(scp: str | PathLike, not_among: set[str]) -> np.ndarray:
    """Mean (E,) of the embeddings of a set, which must share no utterance with ``not_among``.

    Raises:
        SVError: An utterance to be tested is in the set: its mean would leak into the
            scores.
    """
    names, embeddings = read_embeddings(scp)
    shared = not_among.intersection(names)
    if shared:
        raise SVError(
            f"{scp}: {len(shared)} utterances are also in the trials, as {min(shared)};"
            " take the mean of a set that is not tested"
        )
    return embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)


def _models(
    spk2utt: str | PathLike, names: Sequence[str], wanted_by: str
) -> list[list[str]]:
    utterances_of = read_spk2utt(spk2utt)
    missing = [name for name in names if name not in utterances_of]
    if missing:
        raise SVError(
            f"{spk2utt}: has no model {missing[0]}, which {wanted_by} needs "
            f"({len(missing)} of {len(names)} are missing)"
        )
    return [utterances_of[name] for name in names]
