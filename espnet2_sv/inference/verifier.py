"""Verifying and identifying speakers."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.sources import ARK_OFFSET
from espnet2_sv.errors import SVError, printable, require_integer
from espnet2_sv.inference.decision import ScoreDecision
from espnet2_sv.inference.identification import Identification, identify
from espnet2_sv.inference.speaker_store import SpeakerStore
from espnet2_sv.inference.speaker_template import SpeakerTemplate, check_name
from espnet2_sv.inference.speech2embedding import Speech2Embedding
from espnet2_sv.inference.speech_activity import speech_detector
from espnet2_sv.inference.speech_limits import LEAST_WEIGHT, SpeechLimits
from espnet2_sv.inference.waveforms import check_waveform
from espnet2_sv.scoring.cosine import cosine_scores
from espnet2_sv.zoo.source import SpeakerSource

Recording = str | Path | np.ndarray | torch.Tensor


class SpeakerVerifier:
    """Compares recordings by the cosine of their length-normalised embeddings.

    A recording is a file of any format and rate, or a waveform (S,) at ``sample_rate``.
    The length-normalised embeddings of a speaker's recordings are averaged and
    normalised again. Those of an enrolled speaker are weighted by their seconds of
    speech (by their durations where speech is not looked for), so it does not matter
    whether they are enrolled together or one after the other. A list given to
    :meth:`verify` is averaged equally, as in the trial lists of a recipe.

    Examples:
        >>> verifier = SpeakerVerifier.from_pretrained("sv_transfer.zip")
        >>> verifier.verify("a.wav", "b.wav")["score"]
        >>> verifier.enroll("ann", ["ann1.wav", "ann2.wav"])
        >>> verifier.verify("ann", "who.wav")["decision"]
        >>> verifier.identify("who.wav").decision  # a name, or "unknown"
        >>> verifier.save("speakers")  # and .load("speakers")

    Args:
        speech2embedding: The model.
        score_decision: Turns scores into decisions.
        channel: Channel of files to use, counted from 1; None means the mean of all.
        vad: Whether to look for speech with silero-vad; None means if it is installed.
        min_speech: Seconds of speech below which a recording is refused.
        warn_speech: Seconds of speech below which there is a warning.

    Attributes:
        speakers: The enrolled speakers: ``in``, ``len`` and iteration over names.
    """

    def __init__(
        self,
        speech2embedding: Speech2Embedding,
        score_decision: ScoreDecision | None = None,
        channel: int | None = None,
        vad: bool | None = None,
        min_speech: float = SpeechLimits.refuse_below,
        warn_speech: float = SpeechLimits.warn_below,
    ):
        self.speech2embedding = speech2embedding
        speech2embedding.embedder.show_progress = True
        self.score_decision = score_decision or ScoreDecision()
        self.channel = channel
        self.detector = speech_detector(vad)
        self.speech_limits = SpeechLimits(min_speech, warn_speech)
        self.speakers = SpeakerStore()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        threshold: float | None = None,
        p_target: float = 0.5,
        channel: int | None = None,
        vad: bool | None = None,
        min_speech: float = SpeechLimits.refuse_below,
        warn_speech: float = SpeechLimits.warn_below,
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
            vad: See the class.
            min_speech: See the class.
            warn_speech: See the class.
            kwargs: Further arguments of :class:`Speech2Embedding`, such as ``device``.
        """
        resolved = SpeakerSource.resolve(source, asr=kwargs.pop("asr", None))
        score_decision = ScoreDecision.load(resolved.folder, threshold, p_target)
        model = Speech2Embedding.from_source(resolved, **kwargs)
        return cls(model, score_decision, channel, vad, min_speech, warn_speech)

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz that waveforms must have; files are resampled."""
        return self.speech2embedding.sample_rate

    def embed(self, recording: Recording) -> torch.Tensor:
        """Return the length-normalised embedding (E,) of one recording."""
        return torch.from_numpy(self._measure(recording).template().embedding)

    def verify(
        self, enrolment: Recording | Sequence[Recording], test: Recording
    ) -> dict[str, float | bool | str | None]:
        """Compare a recording with one or several recordings of a speaker.

        Args:
            enrolment: The name of an enrolled speaker, one recording, or a list of
                recordings of one speaker.
            test: The recording to verify.

        Returns:
            The fields of :class:`espnet2_sv.inference.decision.Verification`: score,
            llr, decision, threshold, threshold_on; and ``enroll_speech`` and
            ``test_speech``, seconds of speech (None if not looked for).

        Raises:
            SVError: A recording cannot be read or has too little speech; a name is
                also that of a file, or neither.
        """
        if isinstance(enrolment, str) and self._is_enrolled(enrolment):
            known = self.speakers[enrolment]
            enroll_speech = known.speech
        else:
            measured = self._measure(enrolment)
            known = measured.template(equally=True)
            enroll_speech = sum(measured.speech)
        tested = self._measure(test)
        unknown = tested.template()
        verification = self.score_decision(
            cosine(known, unknown), known.quality, unknown.quality
        )
        return asdict(verification) | {
            "enroll_speech": self._looked_for(enroll_speech),
            "test_speech": self._looked_for(sum(tested.speech)),
        }

    def enroll(
        self,
        name: str,
        recordings: Recording | Sequence[Recording],
        replace: bool = False,
    ) -> None:
        """Enrol a speaker, or add recordings to an enrolled speaker.

        Args:
            name: The speaker.
            recordings: One recording or several.
            replace: Forget the recordings that the speaker was enrolled with before.

        Raises:
            SVError: A recording cannot be read or has too little speech, or the name is
                impossible; nobody is enrolled then.
        """
        check_name(name)
        self.speakers.add(name, self._measure(recordings).template(), replace)

    def remove(self, name: str) -> None:
        """Forget an enrolled speaker.

        Raises:
            SVError: There is none of this name.
        """
        self.speakers.remove(name)

    def identify(
        self,
        recording: Recording,
        top_k: int = 5,
        false_accept_rate: float | None = None,
    ) -> Identification:
        """Find out which of the enrolled speakers spoke, if any.

        Args:
            recording: The recording.
            top_k: How many speakers to return, at most.
            false_accept_rate: Highest probability that somebody who is not enrolled is
                taken for any enrolled speaker; 0.01 by default for a model with a
                calibration. Without one, the model's threshold decides, whatever the
                number of speakers; see :meth:`ScoreDecision.for_search`.

        Returns:
            A list of (name, score), best first, with ``llrs``, ``decision`` (a name,
            ``"unknown"``, or None without a threshold) and ``threshold``.

        Raises:
            SVError: Nobody is enrolled, the recording cannot be read or has too little
                speech, or the model cannot hold the rate that was asked for.
        """
        if not len(self.speakers):
            raise SVError("nobody is enrolled; call enroll(name, recordings) first")
        require_integer("top_k", top_k, 1)
        # what the model cannot give is told before the recording is embedded
        self.score_decision.for_search(len(self.speakers), false_accept_rate)
        measured = self._measure(recording)
        found = identify(
            self.speakers,
            measured.template(),
            self.score_decision,
            top_k,
            false_accept_rate,
        )
        found.speech_seconds = self._looked_for(sum(measured.speech))
        return found

    def save(self, path: str | Path) -> None:
        """Write the enrolled speakers to a file.

        What other processes wrote to it meanwhile is kept: speakers that they enrolled,
        and recordings that they added. The file appears complete or not at all.

        Args:
            path: The file, see :mod:`espnet2_sv.inference.speaker_file`.

        Raises:
            SVError: It cannot be written, or is another model's or damaged.
        """
        self.speakers.save(path, self.fingerprint())

    def load(self, path: str | Path, missing_ok: bool = False) -> None:
        """Take the speakers of a file; who was enrolled before and not saved stays.

        Args:
            path: A file of :meth:`save`.
            missing_ok: Whether it may be missing, as before anybody is enrolled.

        Raises:
            SVError: It is missing, damaged or another model's.
        """
        if missing_ok and not os.path.exists(path):
            return
        self.speakers.load(path, self.fingerprint())

    def fingerprint(self) -> str:
        """Return a hash of the model's weights, which enrolled speakers depend on."""
        return self.speech2embedding.embedder.fingerprint()

    def _looked_for(self, seconds: float) -> float | None:
        """Return seconds of speech for a result; None if it was not looked for."""
        return None if self.detector is None else round(seconds, 3)

    def _is_enrolled(self, name: str) -> bool:
        """Whether a word is a speaker's name rather than that of a file.

        Raises:
            SVError: It is both, or neither.
        """
        is_file = os.path.exists(name) or ARK_OFFSET.fullmatch(name) is not None
        if name not in self.speakers:
            if not is_file and len(self.speakers):
                raise SVError(
                    f"{printable(name, 1000)}: no speaker of this name is enrolled, and"
                    " there is no such audio file"
                )
            return False
        if is_file:
            raise SVError(
                f"{name}: is both an enrolled speaker and a file; name the file"
                f" {os.path.join('.', name)}"
            )
        return True

    def _measure(self, recordings: Recording | Sequence[Recording]) -> "_Measured":
        """Read and embed the recordings of one speaker."""
        recordings = _as_list(recordings)
        if not recordings:
            raise SVError("no recordings are given; at least one is needed")
        embeddings, seconds, speech = [], [], []
        for recording in recordings:
            wave, name = self._read(recording)
            try:
                wave = check_waveform(wave)
                embeddings.append(self.speech2embedding(wave)[0].numpy())
                speech.append(self._speech(wave))
            except SVError as e:
                raise SVError(f"{name}: {e}") from e
            seconds.append(len(wave) / self.sample_rate)
        if self.detector is not None:
            self.speech_limits.warn(", ".join(map(_name, recordings)), sum(speech))
        return _Measured(np.stack(embeddings), seconds, speech)

    def _speech(self, wave: torch.Tensor) -> float:
        """Return the seconds of speech; all of a recording if it is not looked for.

        Raises:
            SVError: It has too little speech.
        """
        if self.detector is None:
            return len(wave) / self.sample_rate
        [seconds] = self.detector.seconds([wave], self.sample_rate)
        self.speech_limits.check(seconds)
        return seconds

    def _read(self, recording: Recording) -> tuple[np.ndarray | torch.Tensor, str]:
        name = _name(recording)
        if isinstance(recording, (str, Path)):
            return read_audio(name, self.sample_rate, channel=self.channel), name
        return recording, name


@dataclass(frozen=True)
class _Measured:
    """Recordings of one speaker: embeddings (R, E), durations and seconds of speech."""

    embeddings: np.ndarray
    seconds: list[float]
    speech: list[float]

    def template(self, equally: bool = False) -> SpeakerTemplate:
        """Average the recordings, equally or by their seconds of speech."""
        weights = [1.0 if equally else max(s, LEAST_WEIGHT) for s in self.speech]
        return SpeakerTemplate.of_recordings(self.embeddings, self.seconds, weights)


def cosine(a: SpeakerTemplate, b: SpeakerTemplate) -> float:
    """Return the cosine score of two templates, computed as for trial lists."""
    row = np.zeros(1, int)
    return float(cosine_scores(a.embedding[None], b.embedding[None], row, row)[0])


def _name(recording: Recording) -> str:
    return str(recording) if isinstance(recording, (str, Path)) else "waveform"


def _as_list(recordings: Recording | Sequence[Recording]) -> list[Recording]:
    if isinstance(recordings, (str, Path, np.ndarray, torch.Tensor)):
        return [recordings]
    return list(recordings)
