"""Who of the enrolled speakers spoke, if any of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from espnet2_sv.inference.decision import Quality, ScoreDecision, SearchThreshold
from espnet2_sv.inference.speaker_store import SpeakerStore
from espnet2_sv.inference.speaker_template import UNKNOWN, SpeakerTemplate


class Identification(list[tuple[str, float]]):
    """The best matches among the enrolled speakers, as (name, score), best first.

    Attributes:
        names: The speakers.
        scores: Their cosines.
        llrs: Natural logarithms of their likelihood ratios; None without a calibration.
        decision: The best match if it reaches the threshold, or ``"unknown"``; None
            without a threshold.
        enrolled: Number of speakers that were compared.
        search: The threshold, and what it stands for.
        speech_seconds: Seconds of speech in the recording; None if not looked for.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[str, float]],
        llrs: list[float] | None,
        search: SearchThreshold,
        enrolled: int,
        speech_seconds: float | None = None,
    ):
        super().__init__(pairs)
        self.llrs = llrs
        self.search = search
        self.enrolled = enrolled
        self.speech_seconds = speech_seconds

    @property
    def names(self) -> list[str]:
        """The speakers, best first."""
        return [name for name, _ in self]

    @property
    def scores(self) -> list[float]:
        """The cosines, in the order of the names."""
        return [score for _, score in self]

    @property
    def threshold(self) -> float | None:
        """What the best match is compared with."""
        return self.search.threshold

    @property
    def threshold_on(self) -> str | None:
        """Whether that is a ``"score"`` or an ``"llr"``."""
        return self.search.threshold_on

    @property
    def decision(self) -> str | None:
        """The speaker, ``"unknown"``, or None without a threshold."""
        values = self.llrs if self.threshold_on == "llr" else self.scores
        if self.threshold is None or not values:
            return None
        return self.names[0] if values[0] >= self.threshold else UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data, for JSON."""
        llrs: Sequence[float | None] = self.llrs or [None] * len(self)
        return {
            "decision": self.decision,
            "speakers": [
                {"name": name, "score": score, "llr": llr}
                for (name, score), llr in zip(self, llrs, strict=True)
            ],
            "threshold": self.threshold,
            "threshold_on": self.threshold_on,
            "false_accept_rate": self.search.false_accept_rate,
            "note": self.search.note,
            "enrolled": self.enrolled,
            "speech_seconds": self.speech_seconds,
        }


def identify(
    store: SpeakerStore,
    unknown: SpeakerTemplate,
    score_decision: ScoreDecision,
    top_k: int,
    false_accept_rate: float | None = None,
) -> Identification:
    """Find the enrolled speakers that are most like a recording.

    They are ranked by what the decision is made on: log-likelihood ratios, which may
    depend on the duration and magnitude of both sides, or scores.

    Args:
        store: The enrolled speakers, at least one.
        unknown: The recording.
        score_decision: Turns scores into ratios and decisions.
        top_k: How many speakers to return, at most.
        false_accept_rate: See :meth:`ScoreDecision.for_search`.
    """
    search = score_decision.for_search(len(store), false_accept_rate)
    scores = store.scores(unknown.embedding)
    calibration = score_decision.calibration
    values: np.ndarray = scores
    if search.threshold_on == "llr" and calibration and calibration.measures:
        found = score_decision.llrs(scores, _qualities(store), unknown.quality)
        assert found is not None  # as there is a calibration
        values = found
    best = _largest(values, top_k)
    llrs = score_decision.llrs(scores[best], _qualities(store, best), unknown.quality)
    return Identification(
        ((store.name(row), float(scores[row])) for row in best),
        None if llrs is None else llrs.tolist(),
        search,
        len(store),
    )


def _qualities(store: SpeakerStore, rows: np.ndarray | None = None) -> Quality:
    """Return the quality of all speakers, or of some rows."""
    chosen = slice(None) if rows is None else rows
    recordings = store.column("recordings")[chosen]
    return Quality(
        store.column("seconds")[chosen], store.column("magnitudes")[chosen] / recordings
    )


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the largest values (N,), largest first; ties by index."""
    count = min(count, len(values))
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        candidates = np.flatnonzero(values >= least)
    else:
        candidates = np.arange(len(values))
    order = np.argsort(-values[candidates], kind="stable")
    return candidates[order[:count]]
