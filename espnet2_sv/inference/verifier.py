"""Verifying and identifying speakers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_sv.data.audio import read_audio
from espnet2_sv.errors import SVError
from espnet2_sv.inference.decision import Quality, ScoreDecision
from espnet2_sv.inference.speech2embedding import Speech2Embedding
from espnet2_sv.scoring.cosine import cosine_scores, enrolment_vectors, length_normalise
from espnet2_sv.zoo.source import SpeakerSource

Recording = str | Path | np.ndarray | torch.Tensor


@dataclass(frozen=True)
class SpeakerTemplate:
    """A speaker's embedding from one or several recordings.

    Attributes:
        embedding: Length-normalised (E,); for several recordings, the normalised mean
            of their embeddings.
        quality: Duration and magnitude.
    """

    embedding: np.ndarray
    quality: Quality


class SpeakerVerifier:
    """Compares recordings by the cosine of their length-normalised embeddings.

    A recording is a file of any format and rate, or a waveform (S,) at ``sample_rate``.
    If several recordings enrol a speaker, their length-normalised embeddings are
    averaged and normalised again.

    Examples:
        >>> verifier = SpeakerVerifier.from_pretrained("sv_transfer.zip")
        >>> verifier.verify("a.wav", "b.wav")["score"]
        >>> verifier.enroll("ann", ["ann1.wav", "ann2.wav"])
        >>> verifier.identify("who.wav")[0]  # (name, score) of the best match

    Args:
        speech2embedding: The model.
        score_decision: Turns scores into decisions.
        channel: Channel of files to use, counted from 1; None means the mean of all.
    """

    def __init__(
        self,
        speech2embedding: Speech2Embedding,
        score_decision: ScoreDecision | None = None,
        channel: int | None = None,
    ):
        self.speech2embedding = speech2embedding
        self.score_decision = score_decision or ScoreDecision()
        self.channel = channel
        self.templates: dict[str, SpeakerTemplate] = {}

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        threshold: float | None = None,
        p_target: float = 0.5,
        channel: int | None = None,
        **kwargs: Any,
    ) -> "SpeakerVerifier":
        """Build a verifier from a model, its calibration and its threshold.

        ``calibration.json`` gives log-likelihood ratios and their threshold; without
        it, ``threshold.json`` (``{"cosine": x}``, chosen on held-out training
        speakers) gives a threshold on scores.

        Args:
            source: A tag, packed zip, unpacked directory or ``exp/`` directory.
            threshold: Cosine from which recordings are accepted; overrides the model's
                own.
            p_target: Prior probability of the same speaker, for the calibration's
                threshold.
            channel: Channel of files to use, counted from 1; None means the mean.
            kwargs: Further arguments of :class:`Speech2Embedding`, such as ``device``.
        """
        resolved = SpeakerSource.resolve(source, asr=kwargs.pop("asr", None))
        score_decision = ScoreDecision.load(resolved.folder, threshold, p_target)
        model = Speech2Embedding.from_source(resolved, **kwargs)
        return cls(model, score_decision, channel)

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz that waveforms must have; files are resampled."""
        return self.speech2embedding.sample_rate

    def embed(self, recording: Recording) -> torch.Tensor:
        """Return the length-normalised embedding (E,) of one recording."""
        return torch.from_numpy(self._template([recording]).embedding)

    def verify(
        self, enrolment: Recording | Sequence[Recording], test: Recording
    ) -> dict[str, float | bool | str | None]:
        """Compare a recording with one or several recordings of a speaker.

        Args:
            enrolment: One recording, or a list of recordings of one speaker.
            test: The recording to verify.

        Returns:
            The fields of :class:`espnet2_sv.inference.decision.Verification`: score,
            llr, decision, threshold, threshold_on.
        """
        known, unknown = self._template(_as_list(enrolment)), self._template([test])
        return asdict(
            self.score_decision(cosine(known, unknown), known.quality, unknown.quality)
        )

    def enroll(self, name: str, recordings: Recording | Sequence[Recording]) -> None:
        """Enrol a speaker; an earlier one of the same name is replaced."""
        self.templates[name] = self._template(_as_list(recordings))

    def identify(self, recording: Recording) -> list[tuple[str, float]]:
        """Return the enrolled speakers and their scores, best first.

        Raises:
            SVError: Nobody is enrolled.
        """
        if not self.templates:
            raise SVError("nobody is enrolled; call enroll(name, recordings) first")
        unknown = self._template([recording])
        scores = [
            (name, cosine(template, unknown))
            for name, template in self.templates.items()
        ]
        return sorted(scores, key=lambda item: -item[1])

    def _template(self, recordings: Sequence[Recording]) -> SpeakerTemplate:
        if not recordings:
            raise SVError("no recordings are given; at least one is needed")
        embeddings, seconds = [], 0.0
        for recording in recordings:
            wave, name = self._read(recording)
            try:
                embedding = self.speech2embedding(wave)[0]
            except SVError as e:
                raise SVError(f"{name}: {e}") from e
            embeddings.append(embedding.numpy())
            seconds += len(wave) / self.sample_rate
        raw = np.stack(embeddings)
        unit = length_normalise(raw)
        quality = Quality(seconds, float(np.linalg.norm(raw, axis=1).mean()))
        return SpeakerTemplate(enrolment_vectors([range(len(unit))], unit)[0], quality)

    def _read(self, recording: Recording) -> tuple[np.ndarray | torch.Tensor, str]:
        if isinstance(recording, (str, Path)):
            name = str(recording)
            return read_audio(name, self.sample_rate, channel=self.channel), name
        return recording, "waveform"


def cosine(a: SpeakerTemplate, b: SpeakerTemplate) -> float:
    """Return the cosine score of two templates, computed as for trial lists."""
    row = np.zeros(1, int)
    return float(cosine_scores(a.embedding[None], b.embedding[None], row, row)[0])


def _as_list(recordings: Recording | Sequence[Recording]) -> list[Recording]:
    if isinstance(recordings, (str, Path, np.ndarray, torch.Tensor)):
        return [recordings]
    return list(recordings)
