"""Normalising the scores of a list: who the impostors are, and which sides they measure."""

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.scoring.enrolment import TrialVectors, enrolment_vectors, unit_vectors
from espnet2_sv.scoring.snorm import (
    METHODS,
    Cohort,
    cohort_statistics,
    normalise_scores,
)
from espnet2_sv.scoring.speakers import read_joined


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
        by: ``speaker`` makes one impostor of each speaker, the mean of the
            length-normalised embeddings; ``utterance`` one of each utterance. By
            default ``speaker`` if there is a ``utt2spk``.
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
        return Cohort(unit), {}
    speaker_of = read_joined([utt2spk])
    missing = [name for name in names if name not in speaker_of]
    if missing:
        raise SVError(
            f"{utt2spk}: has no speaker for {missing[0]} ({len(missing)} are missing)"
        )
    numbers = {s: i for i, s in enumerate(sorted({speaker_of[name] for name in names}))}
    speakers = np.array([numbers[speaker_of[name]] for name in names])
    if by == "utterance":
        return Cohort(unit, speakers), numbers
    order = np.argsort(speakers, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(speakers))[:-1])
    return Cohort(enrolment_vectors(rows, unit), np.arange(len(numbers))), numbers


def speaker_numbers(
    names: Sequence[str], utt2spk: Mapping[str, str], numbers: Mapping[str, int]
) -> np.ndarray:
    """Number in the cohort of each name's speaker (N,); -1 where the cohort does not have it.

    Raises:
        SVError: A name has no speaker.
    """
    missing = [name for name in names if name not in utt2spk]
    if missing:
        raise SVError(
            f"utt2spk: has no speaker for {missing[0]} ({len(missing)} are missing)"
        )
    return np.array([numbers.get(utt2spk[name], -1) for name in names])


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
    """Normalise the scores (K,) of a list.

    Args:
        vectors: What the list compares.
        scores: (K,) their scores.
        cohort: The impostors.
        numbers: Number of each speaker in the cohort.
        utt2spk: Speakers of the names in the list, to leave a side's own speaker out of
            its cohort; None to leave nobody out.
        method: One of :data:`~espnet2_sv.scoring.snorm.METHODS`.
        top_n: Impostors that ``as_norm`` keeps.
        ngpu: 1 to use a GPU.

    Returns:
        (K,) float32.
    """
    if method not in METHODS:
        raise SVError(
            f"score normalisation {method}: choose one of {', '.join(METHODS)}"
        )
    if method == "as_norm" and top_n < 2:
        raise SVError(f"top_n={top_n}: a standard deviation needs at least 2 impostors")
    kept = top_n if method == "as_norm" else None

    def side(rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        speakers = None if utt2spk is None else speaker_numbers(names, utt2spk, numbers)
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
