"""Read the trials of a data directory that a ``spk1`` recipe of ESPnet made.

Such a directory has three files with the same keys, ``enroll_utt*test_utt``:
``trial.scp`` with the recording of the first utterance, ``trial2.scp`` with that of the
second, and ``trial_label`` with 1 (target) or 0. Here, trials name utterances, and
``wav.scp`` alone says where their recordings are. ``spk2utt`` may have several lines of
one speaker: ``cnceleb/spk1`` joins the tables of two sets.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError, printable
from espnet2_sv.textfile import read_text

FILES = ("trial.scp", "trial2.scp", "trial_label")
_LABELS = {
    "1": "target",
    "0": "nontarget",
    "target": "target",
    "nontarget": "nontarget",
}
_ADVICE = "write the three files again from one trial list"

Entries = list[tuple[str, str]]  # key and value of each line


def has_spk1_trials(folder: str | os.PathLike) -> bool:
    """Whether there is no ``trials``, but one of spk1's files."""
    folder = Path(folder)
    return not os.path.lexists(folder / "trials") and any(
        os.path.lexists(folder / name) for name in FILES
    )


def read_trial_lines(path: str | os.PathLike) -> tuple[str, list[str]]:
    """Read a trial list or, where it does not exist, spk1's files beside it.

    Args:
        path: The list, e.g. ``data/test/trials``.

    Returns:
        Name of the file that is read, for messages, and its trials, one per line:
        ``enroll_utt test_utt target|nontarget``, unchecked if it is a list.

    Raises:
        SVError: The list cannot be read, or as of :func:`read_spk1_trials`.
    """
    path = Path(path)
    if path.name == "trials" and has_spk1_trials(path.parent):
        return str(path.parent / "trial_label"), read_spk1_trials(path.parent)
    lines = read_text(path).removesuffix("\n").split("\n")
    return str(path), [] if lines == [""] else lines


def read_spk1_trials(folder: str | os.PathLike) -> list[str]:
    """Read ``trial.scp``, ``trial2.scp`` and ``trial_label``.

    Args:
        folder: Data directory with these files and, usually, ``wav.scp``.

    Returns:
        A line ``enroll_utt test_utt target|nontarget`` for each of ``trial_label``, in
        its order; a trial that is listed twice is returned twice.

    Raises:
        SVError: A file is missing or malformed, the keys of the three differ, a label
            is none of 1, 0, target and nontarget, or an utterance has two recordings.
    """
    folder = Path(folder)
    first, second, label = (folder / name for name in FILES)
    labels = _read(label)
    lines = []
    for number, (key, value) in enumerate(labels, 1):
        if value not in _LABELS:
            raise SVError(
                f"{label}: line {number} has label {printable(value)}; write 1 (target)"
                " or 0 (nontarget)"
            )
        lines.append(f"{key.replace('*', ' ')} {_LABELS[value]}")
    audio: dict[str, tuple[str, Path]] = {}
    for side, path in enumerate((first, second)):
        entries = _read(path)
        _require_same_keys(path, entries, label, labels)
        for key, recording in entries:
            utt = key.split("*")[side]
            known, where = audio.setdefault(utt, (recording, path))
            _require_same(utt, known, where, recording, path)
    _require_as_in_wav_scp(folder, audio)
    return lines


def read_joined_spk2utt(path: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yield the (utterance, speaker) pairs of a spk2utt, whose speakers may repeat."""
    for line in read_text(path).splitlines():
        for utt in line.split()[1:]:
            yield utt, line.split()[0]


def _read(path: Path) -> Entries:
    """Read ``enroll*test value`` lines; keys may repeat."""
    entries = []
    lines = read_text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines if lines != [""] else [], 1):
        key, *values = line.split() or [""]
        if not values:
            raise SVError(f"{path}: line {number} has no value; {_ADVICE}")
        if key.count("*") != 1 or key.startswith("*") or key.endswith("*"):
            raise SVError(
                f"{path}: line {number} has the key {printable(key)}, which is not"
                " 'enroll_utt*test_utt'; correct it"
            )
        entries.append((key, " ".join(values)))
    return entries


def _require_same_keys(
    path: Path, entries: Entries, label: Path, labels: Entries
) -> None:
    ours, theirs = (Counter(key for key, _ in part) for part in (entries, labels))
    for of, difference in ((label, theirs - ours), (path, ours - theirs)):
        if difference:
            other = path if of is label else label
            raise SVError(
                f"{other}: {difference.total():,} trials of {of.name} are missing, e.g."
                f" {next(iter(difference))}; {_ADVICE}"
            )


def _require_same(
    utt: str, known: str, where: Path, recording: str, path: Path
) -> None:
    if known != recording and os.path.realpath(known) != os.path.realpath(recording):
        raise SVError(
            f"{path}: {utt} is {printable(recording)}, but {printable(known)} in"
            f" {where.name}; give every recording its own name"
        )


def _require_as_in_wav_scp(folder: Path, audio: dict[str, tuple[str, Path]]) -> None:
    """Require that ``wav.scp``, whose recordings are used, has the same ones.

    With ``segments``, an utterance is a part of a recording and has another name.
    """
    path = folder / "wav.scp"
    if not path.exists():  # which is reported by who needs it
        return
    wavs = read_two_column(path)
    segments = folder / "segments"
    if not segments.exists():
        for utt, (recording, where) in audio.items():
            known = " ".join(wavs.get(utt, recording).split())
            _require_same(utt, known, path, recording, where)
        return
    utts = read_two_column(segments)
    for utt, (_, where) in audio.items():
        if utt in wavs and utt not in utts:
            raise SVError(
                f"{where}: {utt} is a recording of wav.scp, but the utterances are"
                " those of segments; name these, or remove segments"
            )
