"""Find the recordings of a corpus in the layout ``SPEAKER/VIDEO/UTTERANCE.wav``."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import Corpus
from espnet2_sv.errors import SVError

# in order of preference, if an utterance exists in several formats
SUFFIXES = (".wav", ".flac", ".m4a")
_RANK = {suffix: rank for rank, suffix in enumerate(SUFFIXES)}
_AHEAD = 64  # pending speakers per thread


class _Speaker(NamedTuple):
    name: str
    utterances: list[tuple[str, str]]
    twice: int


def scan_speakers(
    root: str | os.PathLike,
    nj: int = 8,
    prefix: str = "",
    wanted: Callable[[str], bool] = lambda speaker: True,
) -> Corpus:
    """List all recordings two folders below ``root``.

    The utterance ``id10001/1zcIwhmdeo4/00001.wav`` is named
    ``id10001-1zcIwhmdeo4-00001``. Hidden files and those without one of
    :data:`SUFFIXES` are ignored.

    Args:
        root: Folder with one folder per speaker, and no other visible folders.
        nj: Number of threads, which mostly wait for the disk or network.
        prefix: Prefix of speaker names, and so of utterances.
        wanted: Whether to list a speaker; called with the name of the folder.

    Returns:
        Speakers in byte order; one without recordings has an empty list.

    Raises:
        SVError: A folder cannot be read, or a name has a space.
    """
    root = os.fspath(root)
    corpus: Corpus = {}
    twice = 0
    names = sorted(e.name for e in _entries(root) if e.is_dir() and wanted(e.name))
    for speaker in _in_threads(root, names, prefix, nj):
        if any(" " in utt for utt, _ in speaker.utterances):
            raise SVError(
                f"{root}: speaker {speaker.name}: a name has a space; rename the folder"
            )
        corpus[speaker.name] = speaker.utterances
        twice += speaker.twice
        if len(corpus) % 1000 == 0:
            logging.info(f"{root}: {len(corpus)} of {len(names)} speakers")
    if twice:
        logging.info(
            f"{root}: {twice} utterances exist in several formats; one is used"
        )
    return corpus


def _in_threads(
    root: str, names: list[str], prefix: str, nj: int
) -> Iterator[_Speaker]:
    with ThreadPoolExecutor(nj) as pool:
        waiting: deque[Future[_Speaker]] = deque()
        for name in names:
            waiting.append(pool.submit(_scan_speaker, root, name, prefix))
            if len(waiting) >= _AHEAD * nj:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _scan_speaker(root: str, name: str, prefix: str) -> _Speaker:
    found: dict[str, str] = {}
    twice = 0
    for video in _entries(f"{root}/{name}"):
        if not video.is_dir():
            continue
        for entry in _entries(video.path):
            stem, dot, suffix = entry.name.rpartition(".")
            rank = _RANK.get((dot + suffix).lower())
            if rank is None:
                continue
            utt = f"{prefix}{name}-{video.name}-{stem}"
            if utt in found:
                twice += 1
                if _RANK[os.path.splitext(found[utt])[1].lower()] < rank:
                    continue
            found[utt] = entry.path
    return _Speaker(prefix + name, sorted(found.items()), twice)


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as e:
        raise SVError(
            f"{folder}: cannot be read ({e.strerror}); correct the path"
        ) from e
