"""Utterances of a data directory: whole recordings, or Kaldi ``segments`` of them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError
from espnet2_sv.textfile import parse_float

_MAX_OVERSHOOT = 0.5  # seconds a segment may exceed its recording, as in Kaldi


class Piece(NamedTuple):
    """An utterance: entry ``spec`` of ``wav.scp`` from ``start`` to ``end`` (s)."""

    utt: str
    spec: str
    start: float = 0.0
    end: float = float("inf")

    @property
    def whole(self) -> bool:
        """Whether it is the whole recording."""
        return self.start == 0 and self.end == float("inf")

    def require_inside(self, seconds: float) -> None:
        """Raise SVError if the recording, of this duration, ends before the segment."""
        problem = ""
        if seconds + _MAX_OVERSHOOT < self.end < float("inf"):
            problem = f"ends at {self.end:.2f} s"
        elif seconds <= self.start:
            problem = f"starts at {self.start:.2f} s"
        if problem:
            raise SVError(
                f"{self.spec}: lasts {seconds:.2f} s, but the segment {problem};"
                " correct segments"
            )


class Utterances:
    """The utterances of a data directory, in file order.

    Attributes:
        wavs: The ``wav.scp``.
        segments: The ``segments`` file (``utt recording start end``, seconds; a
            negative end means the recording's), or None if every recording is an
            utterance.
    """

    def __init__(self, folder: str | os.PathLike):
        """Read the tables of ``folder``; SVError if one is missing or malformed."""
        self.wavs = KaldiTable.read(Path(folder) / "wav.scp")
        path = Path(folder) / "segments"
        self.segments = KaldiTable.read(path) if os.path.lexists(path) else None
        names = () if self.segments is None else self.wavs.names().tolist()
        self._recordings = {name: i for i, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.wavs if self.segments is None else self.segments)

    def __getitem__(self, index: int) -> Piece:
        """Return utterance ``index``.

        Raises:
            SVError: A segment that is malformed, empty, or of an unknown recording.
        """
        if self.segments is None:
            return Piece(self.wavs.key(index), self.wavs.value(index))
        utt, fields = self.segments.key(index), self.segments.value(index).split()
        where = f"{self.segments.name}: utterance {utt}"
        try:
            recording, start, end = fields[0], *map(parse_float, fields[1:])
        except (ValueError, IndexError):
            raise SVError(
                f"{where}: write utterance, recording, start and end (s)"
            ) from None
        end = float("inf") if end < 0 else end
        if not 0 <= start < end:
            raise SVError(
                f"{where}: goes from {start} s to {end} s; correct or remove it"
            )
        if recording not in self._recordings:
            raise SVError(
                f"{where}: recording {recording} is not in {self.wavs.name}; add it"
            )
        return Piece(utt, self.wavs.value(self._recordings[recording]), start, end)

    def usable(self) -> list[Piece]:
        """Return all utterances but segments that :meth:`__getitem__` refuses."""
        pieces = []
        for index in range(len(self)):
            try:
                pieces.append(self[index])
            except SVError:
                continue
        return pieces

    def check_ends(
        self, seconds: Mapping[str, float], report: ValidationReport
    ) -> None:
        """Report segments that end after their recording.

        Args:
            seconds: Durations of recordings; segments of others are passed over, as
                are malformed ones.
            report: Collects the problems.
        """
        if self.segments is None:
            return
        for index in range(len(self)):
            try:
                piece = self[index]
            except SVError:
                continue
            recording = self.segments.value(index).split()[0]
            try:
                if recording in seconds:
                    piece.require_inside(seconds[recording])
            except SVError as e:
                where = f"{self.segments.name}: utterance {piece.utt}"
                report.problem("segment ends", f"{where}: {e}")
