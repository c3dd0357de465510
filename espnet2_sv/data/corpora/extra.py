"""Further speakers for training, such as VoxBlink2's."""

import os
from pathlib import Path

from espnet2_sv.data.corpora.counts import name
from espnet2_sv.data.corpora.speaker_tree import Corpus, scan_speakers
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError


def read_extra(folder: str | os.PathLike, prefix: str = "", nj: int = 8) -> Corpus:
    """List the recordings of a Kaldi data directory or of a tree ``SPEAKER/VIDEO/UTTERANCE.wav``.

    Args:
        folder: With ``wav.scp`` and ``utt2spk``, or a folder for each speaker.
        prefix: Put before the names of speakers and utterances.
        nj: Threads.

    Raises:
        SVError: Neither is there, the tables do not fit, or there are ``segments``.
    """
    folder = Path(folder)
    corpus = (
        _read_tables(folder, prefix)
        if (folder / "wav.scp").exists()
        else scan_speakers(folder, nj, prefix)
    )
    corpus = {
        speaker: utterances for speaker, utterances in corpus.items() if utterances
    }
    if not corpus:
        raise SVError(
            f"{folder}: has neither a wav.scp nor SPEAKER/VIDEO/UTTERANCE.wav (flac,"
            " m4a); correct --extra"
        )
    return corpus


def add_extra(corpus: Corpus, extra: Corpus, folder: str | os.PathLike) -> Corpus:
    """Put further speakers beside the others.

    Raises:
        SVError: A speaker or an utterance has the name of another.
    """
    utts = {utt for utterances in corpus.values() for utt, _ in utterances}
    for what, shared in (
        ("speakers", corpus.keys() & extra.keys()),
        (
            "utterances",
            {u for utterances in extra.values() for u, _ in utterances if u in utts},
        ),
    ):
        if shared:
            raise SVError(
                f"{folder}: {what} have names of VoxCeleb's: {name(shared)}; tell them"
                " apart with --extra_prefix"
            )
    return corpus | extra


def _read_tables(folder: Path, prefix: str) -> Corpus:
    if (folder / "segments").exists():
        raise SVError(f"{folder}/segments: cut the recordings with sv_format_wav first")
    wavs, utt2spk = (
        read_two_column(folder / table) for table in ("wav.scp", "utt2spk")
    )
    if differing := wavs.keys() ^ utt2spk.keys():
        raise SVError(
            f"{folder}: utterances are in one of wav.scp and utt2spk only:"
            f" {name(differing)}"
        )
    corpus: Corpus = {}
    for utt, speaker in utt2spk.items():
        corpus.setdefault(prefix + speaker, []).append((prefix + utt, wavs[utt]))
    return corpus
