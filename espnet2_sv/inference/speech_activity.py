"""How many seconds of a recording are speech, found with silero-vad if installed."""

import importlib.util
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import soxr
import torch

from espnet2_sv.errors import SVError

INSTALL = "pip install silero-vad"
_RATE = 16000  # Hz
_STEP = 512  # samples that the network takes at a time at 16 kHz
# Recordings are cut into rows that are processed together, each with some of what
# precedes it, for the network's state
_ROW_STEPS = 312  # 10 s
_WARM_STEPS = 31  # 1 s
_MOST_ROWS = 64


class SpeechDetector:
    """Finds speech with silero-vad, whose network is in its own wheel (MIT licence).

    A recording is processed in rows of 10 s that run side by side, each preceded by the
    second before it; what is found differs from one long pass by about 1 %.

    Use :func:`speech_detector`, which loads it once.
    """

    def __init__(self) -> None:
        threads = torch.get_num_threads()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit.load is deprecated
            import silero_vad

            self._network: Any = silero_vad.load_silero_vad()
        torch.set_num_threads(threads)  # the import sets it to 1
        self._timestamps = silero_vad.get_speech_timestamps_from_probs
        self._lock = threading.Lock()  # the network has a state

    @torch.inference_mode()
    def seconds(
        self, waves: Sequence[np.ndarray | torch.Tensor], sample_rate: int
    ) -> list[float]:
        """Return the seconds of speech in each of several recordings.

        Args:
            waves: Waveforms (S,), floats between -1 and 1.
            sample_rate: Their sampling rate in Hz.
        """
        speech = [_at_16khz(wave, sample_rate) for wave in waves]
        rows = [
            row for number, wave in enumerate(speech) for row in _rows(number, wave)
        ]
        found: list[list[torch.Tensor]] = [[] for _ in speech]
        done: dict[int, torch.Tensor] = {}
        order = sorted(range(len(rows)), key=lambda i: -rows[i].steps)
        with self._lock:
            for start in range(0, len(order), _MOST_ROWS):
                batch = order[start : start + _MOST_ROWS]
                chances = self._chances([rows[i] for i in batch])
                done.update(zip(batch, chances, strict=True))
        for i, row in enumerate(rows):
            found[row.recording].append(done[i])
        return [
            self._total(torch.cat(chances), len(wave))
            for chances, wave in zip(found, speech, strict=True)
        ]

    def _chances(self, rows: "list[_Row]") -> list[torch.Tensor]:
        """Return the probabilities of speech, one per step of each row."""
        samples = torch.nn.utils.rnn.pad_sequence(
            [row.samples for row in rows], batch_first=True
        )
        self._network.reset_states()
        columns = [
            self._network(step.contiguous(), _RATE).reshape(-1)
            for step in samples.split(_STEP, dim=1)
        ]
        chances = torch.stack(columns, dim=1)
        return [
            chance[row.warm_steps : row.steps]
            for chance, row in zip(chances, rows, strict=True)
        ]

    def _total(self, chances: torch.Tensor, num_samples: int) -> float:
        """Return the seconds of the sections that silero-vad takes for speech."""
        sections = self._timestamps(
            chances.tolist(), sampling_rate=_RATE, audio_length_samples=num_samples
        )
        return sum(part["end"] - part["start"] for part in sections) / _RATE


def detector_version(wanted: bool | None = None) -> str | None:
    """Return what finds speech, without loading it; None if it is not to be used.

    Args:
        wanted: True or False; None means if silero-vad is installed.

    Raises:
        SVError: It is wanted and not installed.
    """
    if wanted is False:
        return None
    if importlib.util.find_spec("silero_vad") is None:
        if wanted:
            raise SVError(f"speech is looked for with silero-vad, so {INSTALL}")
        return None
    return f"silero-vad {metadata.version('silero-vad')}"


def speech_detector(wanted: bool | None = None) -> SpeechDetector | None:
    """Return the detector, which is loaded once; see :func:`detector_version`."""
    return None if detector_version(wanted) is None else _load()


@cache
def _load() -> SpeechDetector:
    return SpeechDetector()


@dataclass(frozen=True)
class _Row:
    """Consecutive steps of a recording, the first of which are for warming up."""

    recording: int
    samples: torch.Tensor
    warm_steps: int

    @property
    def steps(self) -> int:
        return len(self.samples) // _STEP


def _rows(recording: int, wave: torch.Tensor) -> list[_Row]:
    padded = torch.nn.functional.pad(wave, (0, -len(wave) % _STEP))
    rows = []
    for start in range(0, len(padded) // _STEP, _ROW_STEPS):
        warm = min(start, _WARM_STEPS)
        part = padded[(start - warm) * _STEP : (start + _ROW_STEPS) * _STEP]
        rows.append(_Row(recording, part, warm))
    return rows


def _at_16khz(wave: np.ndarray | torch.Tensor, sample_rate: int) -> torch.Tensor:
    samples = np.asarray(wave, np.float32)
    if sample_rate != _RATE:
        samples = soxr.resample(samples, sample_rate, _RATE)
    return torch.from_numpy(np.array(samples, np.float32, copy=None))
