"""Check what a data directory shares with others, and which recordings it repeats."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet2_sv.data.check_tables import check_table, normalise
from espnet2_sv.data.repeated_audio import (
    Recording,
    equal_recordings,
    read_recordings,
)
from espnet2_sv.data.segments import Piece, Utterances
from espnet2_sv.data.spk1_trials import read_trial_lines
from espnet2_sv.data.validation_report import ValidationReport, name_first
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

ALLOWED = ("none", "speakers", "all")


class Policy(NamedTuple):
    """What may be shared with other sets.

    Attributes:
        allowed: ``"none"``, ``"speakers"`` or ``"all"`` (also utterances and
            recordings); what is allowed is a warning, the rest are problems.
        names: What the other sets are, for readers, e.g. ``"training"``; by default the
            names of their folders.
    """

    allowed: str = "none"
    names: Sequence[str] = ()


class Reading(NamedTuple):
    """How recordings are compared; ``sample_rate`` in Hz, ``nj`` processes."""

    sample_rate: int
    allow_pipes: bool = False
    nj: int = 1


class Overlap:
    """Finds what a data directory shares; notes are for readers of results.

    Args:
        folder: The data directory.
        speaker_of: Speaker of each of its utterances, as far as known.
        report: Collects problems and warnings.
        policy: What may be shared.

    Attributes:
        notes: One plain sentence about each finding, e.g. "test: 3 of 5 speakers were
            also in training".
    """

    def __init__(
        self,
        folder: Path,
        speaker_of: Mapping[str, str],
        report: ValidationReport,
        policy: Policy,
    ):
        self.folder = folder
        self.speaker_of = speaker_of
        self.notes: list[str] = []
        self._report = report
        self._policy = policy

    def with_tables(self, names: Collection[str], other: Path, number: int) -> None:
        """Compare speakers, utterances and places of recordings with another set.

        Args:
            names: The utterances, also those without speaker.
            other: Another data directory.
            number: Its place among all others.
        """
        theirs = check_table(other / "utt2spk", self._report)
        if theirs is None:
            return
        speakers = set(self.speaker_of.values())
        if not speakers:
            self._report.warning(
                "shared speakers",
                f"{self.folder}: its speakers are unknown and cannot be compared with"
                f" those of {other}",
            )
        table = self.folder / ("utt2spk" if speakers else "wav.scp")
        known = {s.decode() for s in set(theirs.values().tolist())}
        utts = {*self.speaker_of, *names}
        for what, ours, others in (
            ("speaker", speakers, known),
            ("utterance", utts, theirs.names().tolist()),
        ):
            shared = _shared(ours, others)
            lines = [
                f"{table}: {what} {name} is also in {other / 'utt2spk'};"
                " overlap inflates results, hold it out"
                for name in shared
            ]
            self._tell(what, shared, len(ours), other, number, lines)
        same = _same_places(self.folder, other)
        lines = [
            f"{self.folder}: utterance {a} is the same recording as {b} of {other};"
            " overlap inflates results, remove one"
            for a, b in same
        ]
        self._tell("recording", [a for a, _ in same], len(utts), other, number, lines)

    def with_samples(
        self,
        recordings: Sequence[Recording],
        others: Sequence[Path],
        trials: Sequence[str | os.PathLike],
        reading: Reading,
    ) -> None:
        """Compare samples with those of other sets, and within the set itself.

        Args:
            recordings: The recordings of this set.
            others: Other data directories.
            trials: Trial lists of this set, where trials of two copies are named.
            reading: How recordings are compared.
        """
        copies = self._within(recordings, reading)
        for path in trials:
            self._trials_of_copies(path, copies)
        lengths = {r.length for r in recordings}
        for number, other in enumerate(others):
            if not (other / "wav.scp").exists():  # tables alone
                continue
            try:
                theirs = read_recordings(other, *reading)
            except SVError as e:
                self._report.problem("files", str(e))
                continue
            theirs = [r for r in theirs if r.length in lengths]
            known = _same_place_pairs(
                [r.piece for r in recordings], [r.piece for r in theirs]
            )
            named = {a for a, _ in known}  # by with_tables
            both = [r for r in recordings if r.piece.utt not in named]
            same = []
            for group in equal_recordings([*both, *theirs], *reading):
                split = int(np.searchsorted(group, len(both)))
                if 0 < split < len(group):
                    twin = theirs[group[split] - len(both)].piece.utt
                    same += [(both[i].piece.utt, twin) for i in group[:split]]
            lines = [
                f"{self.folder}: utterance {a} has the same samples as {b} of {other};"
                " overlap inflates results, remove one"
                for a, b in same
            ]
            shared = [a for a, _ in same]
            self._tell("recording", shared, len(recordings), other, number, lines)

    def write_notes(self, path: str | os.PathLike) -> None:
        """Write one note per line, or remove the file if there are none."""
        if not self.notes:
            Path(path).unlink(missing_ok=True)
            return
        with atomic_write(path) as f:
            f.writelines(f"{note}\n" for note in self.notes)

    def _tell(
        self,
        what: str,
        shared: Sequence[str],
        total: int,
        other: Path,
        number: int,
        lines: Sequence[str],
    ) -> None:
        """Report what is shared; ``lines`` are the problems, one per name."""
        if not shared:
            return
        names = self._policy.names
        name = names[number] if number < len(names) else other.name
        count = f"{len(shared):,} of {total:,} {what}{'s' * (total > 1)}"
        were, are = ("was", "is") if len(shared) == 1 else ("were", "are")
        self.notes.append(f"{self.folder.name}: {count} {were} also in {name}")
        allowed = self._policy.allowed
        if allowed == "all" or (allowed == "speakers" and what == "speaker"):
            self._report.summary(
                f"shared {what}s",
                f"{self.folder}: {count} {are} also in {other}, which inflates results:"
                f" {name_first(shared)}",
                lines,
            )
            return
        for line in lines:
            self._report.problem(f"shared {what}s", line)

    def _within(
        self, recordings: Sequence[Recording], reading: Reading
    ) -> dict[str, str]:
        """Warn of repeated recordings; return the first copy of each repeated one."""
        groups = [
            [recordings[i].piece.utt for i in group]
            for group in equal_recordings(recordings, *reading)
        ]
        if groups:
            repeated = sum(len(group) - 1 for group in groups)
            speakers = [
                group
                for group in groups
                if len({self.speaker_of.get(utt, "") for utt in group}) > 1
            ]
            others = f", {len(speakers):,} across speakers" if speakers else ""
            verb = "repeats" if repeated == 1 else "repeat"
            equal = [" = ".join(group) for group in [*speakers, *groups]]
            self._report.summary(
                "repeated recordings",
                f"{self.folder}: {repeated:,} of {len(recordings):,} recordings {verb}"
                f" the samples of others{others}, e.g."
                f" {name_first(list(dict.fromkeys(equal)))}",
                (f"{self.folder}: equal samples: {' = '.join(g)}" for g in groups),
            )
        return {utt: group[0] for group in groups for utt in group}

    def _trials_of_copies(
        self, path: str | os.PathLike, copies: Mapping[str, str]
    ) -> None:
        """Warn of trials that compare two copies of one recording."""
        if not copies:
            return
        try:
            source, lines = read_trial_lines(path)
        except SVError as e:
            self._report.problem("trials", str(e))
            return
        found: dict[str, list[str]] = {"target": [], "nontarget": []}
        for line in lines:
            match line.split():
                case [a, b, label] if a != b and label in found:
                    if a in copies and copies[a] == copies.get(b):
                        found[label].append(f"{a} {b}")
        for label, pairs in found.items():
            if not pairs:
                continue
            count = f"{len(pairs):,} {label} trials compare two copies of one recording"
            if len(pairs) == 1:
                count = f"1 {label} trial compares two copies of one recording"
            self.notes.append(f"{self.folder.name}: {count}")
            worth = (
                "which says nothing about a system; remove"
                if label == "target"
                else "so the two speakers are one, or a label is wrong; correct"
            )
            self._report.summary(
                f"{label} trials of copies",
                f"{source}: {count}, {worth} {name_first(pairs)}",
                (f"{source}: {pair} {label}: two copies" for pair in pairs),
            )


def _shared(ours: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return the names of both, in whatever Unicode normalisation, sorted."""
    composed = {normalise(name) for name in others}
    return sorted(name for name in set(ours) if normalise(name) in composed)


def _same_places(folder: Path, other: Path) -> list[tuple[str, str]]:
    """Return utterances of two sets that are (parts of) one part of one file."""
    try:
        ours, theirs = Utterances(folder).usable(), Utterances(other).usable()
    except SVError:  # a missing table, which is reported elsewhere or not needed
        return []
    return _same_place_pairs(ours, theirs)


def _same_place_pairs(
    ours: Sequence[Piece], theirs: Sequence[Piece]
) -> list[tuple[str, str]]:
    """Return pairs of utterances from one file that overlap in time."""
    places: dict[str, list[Piece]] = {}
    for piece in theirs:
        places.setdefault(piece.spec, []).append(piece)
    found = []
    for piece in ours:
        for other in places.get(piece.spec, ()):
            if piece.start < other.end and other.start < piece.end:
                found.append((piece.utt, other.utt))
                break
    return found
