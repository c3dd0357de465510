"""Data directories from one's own recordings, in folders ``SPEAKER/FILE``."""

import logging
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import Corpus, name_some, rank
from espnet2_sv.data.corpora.data_dirs import write_names, write_set
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError, printable

# Files of these kinds are taken for audio without a look; sv_check_data opens them all
AUDIO_SUFFIXES = {
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".oga",
    ".opus",
    ".m4a",
    ".mp4",
    ".aac",
    ".webm",
    ".mka",
    ".mkv",
    ".wma",
    ".ac3",
    ".amr",
    ".awb",
    ".3gp",
    ".gsm",
    ".g722",
    ".sph",
    ".nist",
    ".au",
    ".snd",
    ".aif",
    ".aiff",
    ".aifc",
    ".caf",
    ".w64",
    ".rf64",
    ".voc",
}
SHARE = 0.15  # of the speakers, in each held-out set by default
LEAST_SPEAKERS = 2  # of a set: nontarget trials and a classifier need two
_LEAST_RECORDINGS = 2  # of a held-out speaker: a target trial needs two
LEFT_OUT = "left_out"  # name of the file that lists what is no audio


class Found(NamedTuple):
    """What a folder holds.

    Attributes:
        corpus: Recordings of each speaker.
        others: Paths of files that are no audio.
    """

    corpus: Corpus
    others: list[str]


def prepare_folder(
    audio_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    valid_speakers: int | None = None,
    test_speakers: int | None = None,
    seed: int = 0,
) -> dict[str, Corpus]:
    """Write the data directories ``train``, ``valid`` and ``test``.

    Each speaker is in one of them. Validation and test speakers are selected by
    ``seed`` from those with two or more recordings; that another speaker is added
    hardly changes the selection. The file ``left_out`` lists files that are no audio.

    Args:
        audio_dir: Folder of recordings, see :func:`scan_folder`.
        output_dir: Folder to write the data directories to.
        valid_speakers: Number of validation speakers; by default :data:`SHARE` of all,
            at least two.
        test_speakers: Number of test speakers; the same default.
        seed: Seed of the selection.

    Returns:
        The recordings of each set.

    Raises:
        SVError: There are too few speakers or recordings, or a name cannot be used.
    """
    found = scan_folder(audio_dir)
    sets = split_speakers(
        found.corpus, str(audio_dir), valid_speakers, test_speakers, seed
    )
    _report(str(audio_dir), found)
    write_names(Path(output_dir) / LEFT_OUT, sorted(map(printable, found.others)))
    for name in ("valid", "test", "train"):
        write_set(Path(output_dir) / name, sets[name])
    return sets


def split_speakers(
    corpus: Corpus,
    where: str,
    valid_speakers: int | None = None,
    test_speakers: int | None = None,
    seed: int = 0,
) -> dict[str, Corpus]:
    """Divide the speakers into ``train``, ``valid`` and ``test``.

    Args:
        corpus: Recordings of all speakers.
        where: Where they are, for messages.
        valid_speakers: See :func:`prepare_folder`.
        test_speakers: See :func:`prepare_folder`.
        seed: Seed of the selection.

    Raises:
        SVError: There are too few speakers, or too few with two recordings.
    """
    default = max(round(SHARE * len(corpus)), LEAST_SPEAKERS)
    valid = default if valid_speakers is None else valid_speakers
    test = default if test_speakers is None else test_speakers
    if len(corpus) < valid + test + LEAST_SPEAKERS:
        raise SVError(
            f"{where}: has {len(corpus)} speakers with recordings, but {valid} are for"
            f" validation, {test} for tests and at least {LEAST_SPEAKERS} for training;"
            " add speakers, or reduce --valid_speakers or --test_speakers"
        )
    usable = [s for s, files in corpus.items() if len(files) >= _LEAST_RECORDINGS]
    if len(usable) < valid + test:
        raise SVError(
            f"{where}: only {len(usable)} speakers have {_LEAST_RECORDINGS} or more"
            f" recordings, but {valid} are for validation and {test} for tests, where"
            " target trials need them; add recordings, or reduce --valid_speakers or"
            " --test_speakers"
        )
    order = rank(usable, seed)
    chosen = {"test": order[:test], "valid": order[test : test + valid]}
    held_out = {*chosen["test"], *chosen["valid"]}
    chosen["train"] = [speaker for speaker in corpus if speaker not in held_out]
    return {
        name: {speaker: corpus[speaker] for speaker in speakers}
        for name, speakers in chosen.items()
    }


def scan_folder(root: str | os.PathLike) -> Found:
    """List the recordings of the speakers in a folder, each in a folder of its own.

    Folders within a speaker's folder, such as sessions, become part of the utterance's
    name: ``anna/day 1/x.mp3`` is ``anna-day_1-x``. White space and control characters
    become ``_``. If names differ in their ending only, it is kept. Hidden files are
    ignored, links followed. Files of unknown kind are opened; what is not audio is left
    out.

    Args:
        root: The folder.

    Returns:
        Speakers and utterances in byte order; speakers without audio are left out.

    Raises:
        SVError: A folder cannot be read, audio is in no speaker's folder, or a name
            cannot be used or would be that of another.
    """
    root = os.fspath(root)
    corpus: Corpus = {}
    others: list[str] = []
    folder_of: dict[str, str] = {}
    file_of: dict[str, str] = {}
    for entry in _entries(root):
        if not entry.is_dir():
            if _suffix(entry.name) in AUDIO_SUFFIXES:
                raise SVError(
                    f"{printable(entry.path)}: is in no speaker's folder; put it into"
                    " one that is named after its speaker"
                )
            continue
        speaker = _clean(entry.name)
        _require_new(folder_of, speaker, entry.path)
        files: list[str] = []
        for path in _files(entry.path):
            (files if _is_audio(path) else others).append(path)
        utterances = _name(speaker, entry.path, files)
        for utterance, path in utterances:
            _require_usable(path)
            _require_new(file_of, utterance, path)
        if utterances:
            corpus[speaker] = utterances
    if not corpus:
        raise SVError(
            f"{root}: has no audio in folders of speakers; give a folder with"
            " SPEAKER/FILE below it"
        )
    return Found(dict(sorted(corpus.items())), others)


def _name(speaker: str, folder: str, files: list[str]) -> list[tuple[str, str]]:
    """Return the sorted (utterance, path) of a speaker's files."""
    stems = defaultdict(list)
    for path in files:
        stem = os.path.splitext(os.path.relpath(path, folder))[0]
        stems[f"{speaker}-{_clean(stem.replace(os.sep, '-'))}"].append(path)
    named = []
    for utterance, paths in stems.items():
        if len(paths) == 1:
            named.append((utterance, paths[0]))
            continue
        logging.warning(
            f"{printable(paths[0])}: is there as {_suffix(paths[1])}, too; both are"
            " used: remove one if they are one recording"
        )
        named += [(f"{utterance}-{_suffix(path)[1:]}", path) for path in paths]
    return sorted(named)


def _require_new(taken: dict[str, str], name: str, path: str) -> None:
    if (other := taken.setdefault(name, path)) != path:
        raise SVError(
            f"{printable(path)}: would be called {printable(name)}, as"
            f" {printable(other)} is; rename one of them"
        )


def _require_usable(path: str) -> None:
    """Refuse paths that a wav.scp cannot hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise SVError(f"{path!a}: its name is not UTF-8; rename it") from None
    if path.splitlines() != [path] or path != path.strip():
        raise SVError(
            f"{printable(path)}: has a line break or a blank at its end, which no"
            " wav.scp can hold; rename it"
        )


def _is_audio(path: str) -> bool:
    if _suffix(path) in AUDIO_SUFFIXES:
        return True
    try:
        with open_audio(path):
            return True
    except SVError:
        return False


def _clean(name: str) -> str:
    return "".join(
        "_" if c.isspace() or c == "\ufeff" or unicodedata.category(c) == "Cc" else c
        for c in name
    )


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _files(folder: str) -> Iterator[str]:
    """Yield the visible files below a folder; links are followed, but no loops."""
    seen = set()
    folders = [folder]
    while folders:
        status = os.stat(current := folders.pop())
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in _entries(current):
            if entry.is_dir():
                folders.append(entry.path)
            else:
                yield entry.path


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as e:
        raise SVError(
            f"{printable(folder)}: cannot be read ({e.strerror}); correct the path"
        ) from e
    return sorted(visible, key=lambda entry: os.fsencode(entry.name))


def _report(root: str, found: Found) -> None:
    """Log what was found, in one line each."""
    recordings = [path for files in found.corpus.values() for _, path in files]
    kinds = Counter(_suffix(path) or "without ending" for path in recordings)
    logging.info(
        f"{root}: {len(recordings):,} recordings of {len(found.corpus):,} speakers ("
        + ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        + ")"
    )
    if found.others:
        logging.warning(
            f"{root}: {len(found.others):,} files are no audio and are left out:"
            f" {name_some([printable(os.path.basename(p)) for p in found.others])}"
        )
