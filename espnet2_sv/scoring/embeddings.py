"""Embeddings read from Kaldi archives, and the vectors that a trial list compares.

Reading takes about a second for hundreds of thousands of embeddings.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike

import numpy as np

from espnet2_sv.data.arks import ArkReader
from espnet2_sv.data.kaldi import KaldiTable, encode_keys, read_spk2utt
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import enrolment_vectors, length_normalise
from espnet2_sv.scoring.pairs import Pairs


def read_embeddings(
    scp: str | PathLike | Sequence[str | PathLike],
    names: Iterable[str] | None = None,
    wanted_by: str | PathLike = "the list",
) -> tuple[list[str], np.ndarray]:
    """Read embeddings that a Kaldi ``scp`` points to.

    Args:
        scp: File of ``name archive:offset`` lines, or several of them; a name is read
            from the first file that has it.
        names: Names to read, in this order; None reads all of one file.
        wanted_by: What ``names`` come from, for the message when one is missing.

    Returns:
        The names and the (N, E) float32 embeddings.

    Raises:
        SVError: A name has no embedding, an embedding is unreadable, zero, NaN or Inf,
            or two have different dimensions.
    """
    paths = [scp] if isinstance(scp, str | PathLike) else list(scp)
    title = " ".join(map(str, paths))
    tables = [KaldiTable.read(path) for path in paths]
    names = (
        [n.decode() for n in tables[0].keys().tolist()]
        if names is None
        else list(names)
    )
    if not names:
        raise SVError(f"{title}: is empty; extract the embeddings again")
    places = _places(tables, names, title, wanted_by)
    reader = ArkReader("embedding")

    embeddings = np.empty((0, 0), np.float32)
    with np.errstate(over="ignore"):  # of doubles; Inf is found below
        for row, (name, (table, entry)) in enumerate(zip(names, places, strict=True)):
            where = partial(_line, table, entry)
            vector = reader.read(name, table.value(entry), where)
            if vector.ndim != 1:
                raise SVError(
                    f"{where()}: the embedding of {name} is a matrix of"
                    f" {' x '.join(map(str, vector.shape))}; expected a vector"
                )
            if row == 0:
                embeddings = np.empty((len(names), len(vector)), np.float32)
            if len(vector) != embeddings.shape[1]:
                raise SVError(
                    f"{where()}: the embedding of {name} has {len(vector)}"
                    f" dimensions, that of {names[0]} has {embeddings.shape[1]};"
                    " extract all with one model"
                )
            embeddings[row] = vector
    reader.finish()
    _check_values(title, names, embeddings)
    return names, embeddings


def _line(table: KaldiTable, entry: int) -> str:
    return f"{table.name}: line {entry + 1}"


def _places(
    tables: list[KaldiTable], names: list[str], title: str, wanted_by: str | PathLike
) -> list[tuple[KaldiTable, int]]:
    """Return the table of each name and the entry there."""
    keys = encode_keys(names)
    places: list[tuple[KaldiTable, int] | None] = [None] * len(names)
    for table in reversed(tables):  # so that the first file takes precedence
        entries = table.find(keys)
        for row in np.flatnonzero(entries >= 0).tolist():
            places[row] = table, int(entries[row])
    found = [place for place in places if place is not None]
    if len(found) < len(names):
        missing = names[places.index(None)]
        raise SVError(
            f"{title}: has no embedding for {missing}, which {wanted_by} needs "
            f"({len(names) - len(found)} of {len(names)} are missing)"
        )
    return found


def _check_values(scp: str, names: list[str], embeddings: np.ndarray) -> None:
    squares = np.einsum("ij,ij->i", embeddings, embeddings)
    bad = ~(np.isfinite(squares) & (squares > 0))
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if squares[row] == 0 else "NaN or Inf"
        raise SVError(
            f"{scp}: the embedding of {names[row]} is {what} ({int(bad.sum())} such"
            " embeddings); check its audio and extract it again"
        )


@dataclass(frozen=True)
class TrialVectors:
    """Vectors whose inner products are the scores of a trial list.

    Attributes:
        enroll: (M, E) float32.
        test: (N, E) float32 unit vectors; the same array as ``enroll`` if both sides of
            the list are utterances of one set, so that nothing is read or normalised
            twice.
        enroll_index: (K,) row of ``enroll`` for each trial.
        test_index: (K,) row of ``test`` for each trial.
        enroll_names: The M names.
        test_names: The N names.
        mean: (E,) that has been subtracted from the embeddings, if any.
        models: The utterances of each enrolled model, if several enrol one.
    """

    enroll: np.ndarray
    test: np.ndarray
    enroll_index: np.ndarray
    test_index: np.ndarray
    enroll_names: list[str]
    test_names: list[str]
    mean: np.ndarray | None = None
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def utterances_of(self) -> dict[str, Sequence[str]]:
        """The utterances of each name on either side."""
        sides = {name: [name] for name in (*self.enroll_names, *self.test_names)}
        return sides | dict(self.models)


def read_trial_vectors(
    pairs: Pairs,
    enroll_scp: str | PathLike,
    test_scp: str | PathLike,
    wanted_by: str,
    spk2utt: str | PathLike | None = None,
    mode: str = "mean_embedding",
    mean_scp: str | PathLike | None = None,
) -> TrialVectors:
    """Read the vectors that a trial list compares.

    Args:
        pairs: The list.
        enroll_scp: Embeddings of the enrolment side, by utterance or by model.
        test_scp: Embeddings of the test side.
        wanted_by: Name of the list in messages.
        spk2utt: File of ``model utt1 utt2 ...`` lines, if several utterances enrol one
            model.
        mode: How their embeddings are combined; see
            :func:`~espnet2_sv.scoring.cosine.enrolment_vectors`.
        mean_scp: Embeddings whose mean is subtracted from all others before
            length normalisation.

    Raises:
        SVError: As :func:`read_embeddings`; a model is unknown; the two sides have
            different dimensions; an utterance of ``mean_scp`` is in the trials.
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
    sides = pairs.enroll_names, pairs.test_names
    models: dict[str, Sequence[str]] = {}
    if enrolled is not None:
        models = dict(zip(pairs.enroll_names, enrolled, strict=True))
    return TrialVectors(enroll, test, rows[0], rows[1], *sides, mean, models)


def unit_vectors(
    scp: str | PathLike, embeddings: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Subtract ``mean`` (E,), if given, and length-normalise (N, E), in place.

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
    """Mean (E,) of a set of embeddings that has no utterance of ``not_among``.

    Raises:
        SVError: An utterance of the trials is in the set: its mean would leak into the
            scores.
    """
    names, embeddings = read_embeddings(scp)
    shared = not_among.intersection(names)
    if shared:
        raise SVError(
            f"{scp}: {len(shared)} utterances are also in the trials, e.g."
            f" {min(shared)}; take the mean of a set that is not tested"
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
