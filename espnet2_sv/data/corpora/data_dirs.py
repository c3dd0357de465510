"""Write Kaldi data directories of a corpus."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import Corpus
from espnet2_sv.fileio import atomic_write


class Trial(NamedTuple):
    """A trial: two utterances, and ``target`` or ``nontarget``."""

    enroll: str
    test: str
    label: str


def write_set(
    folder: str | os.PathLike, corpus: Corpus, trials: Iterable[Trial] | None = None
) -> None:
    """Write ``wav.scp``, ``utt2spk``, ``spk2utt`` and, if given, ``trials``.

    Tables are sorted by utterance or speaker in byte order, trials keep their order.
    ``wav.scp`` is written last.
    """
    folder = Path(folder)
    entries = sorted(_entries(corpus))
    if trials is not None:
        _write(folder / "trials", (f"{t.enroll} {t.test} {t.label}" for t in trials))
    _write(
        folder / "spk2utt",
        (
            f"{speaker} {' '.join(utt for utt, _ in sorted(corpus[speaker]))}"
            for speaker in sorted(corpus)
            if corpus[speaker]
        ),
    )
    _write(folder / "utt2spk", (f"{utt} {speaker}" for utt, speaker, _ in entries))
    _write(folder / "wav.scp", (f"{utt} {audio}" for utt, _, audio in entries))


def write_names(path: str | os.PathLike, names: Iterable[str]) -> None:
    """Write one name per line."""
    _write(Path(path), names)


def _entries(corpus: Corpus) -> Iterator[tuple[str, str, str]]:
    for speaker, utterances in corpus.items():
        for utt, audio in utterances:
            yield utt, speaker, audio


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_write(path) as f:
        f.writelines(f"{line}\n" for line in lines)
