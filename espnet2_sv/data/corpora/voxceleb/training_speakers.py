"""Training speakers: which are held out, and further ones such as VoxBlink2's."""

import os
from pathlib import Path

from espnet2_sv.data.corpora.corpus import Corpus, name_some, rank
from espnet2_sv.data.corpora.speaker_tree import scan_speakers
from espnet2_sv.data.corpora.voxceleb.plan import Plan
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.textfile import read_text

_FEWEST = 2  # speakers per set: for a nontarget trial, or for training


def hold_out_speakers(corpus: Corpus, plan: Plan) -> dict[str, list[str]]:
    """Select speakers to hold out, or take those of the lists in ``plan.held_out``.

    Args:
        corpus: Training corpus; speakers with one utterance, who have no target trial,
            are not held out.
        plan: Numbers of speakers, or the lists.

    Returns:
        Sorted speakers of ``valid`` and of ``calib``, without overlap.

    Raises:
        SVError: A set would have too few speakers, or a list is wrong.
    """
    able = [speaker for speaker, utterances in corpus.items() if len(utterances) > 1]
    if plan.held_out:
        chosen = {
            kind: _read(Path(plan.held_out) / f"{kind}_speakers", set(able))
            for kind in ("valid", "calib")
        }
        if shared := set(chosen["valid"]) & set(chosen["calib"]):
            raise SVError(
                f"{plan.held_out}: speakers are in both lists: {name_some(shared)}"
            )
    else:
        ranked, end = rank(able, plan.seed), plan.valid_speakers + plan.calib_speakers
        chosen = {
            "valid": sorted(ranked[: plan.valid_speakers]),
            "calib": sorted(ranked[plan.valid_speakers : end]),
        }
    sizes = {kind: len(speakers) for kind, speakers in chosen.items()}
    if min(*sizes.values(), len(corpus) - sum(sizes.values())) < _FEWEST:
        raise SVError(
            f"of {len(corpus)} speakers, {sizes['valid']} for validation and"
            f" {sizes['calib']} for calibration leave a set with fewer than {_FEWEST};"
            " change --valid_speakers and --calib_speakers"
        )
    return chosen


def _read(path: Path, able: set[str]) -> list[str]:
    try:
        speakers = sorted(set(read_text(path).split()))
    except SVError as e:
        raise SVError(f"{e}; correct --held_out") from e
    if unknown := [speaker for speaker in speakers if speaker not in able]:
        raise SVError(
            f"{path}: {len(unknown)} speakers do not have two utterances:"
            f" {name_some(unknown)}"
        )
    return speakers


def read_extra(folder: str | os.PathLike, prefix: str = "", nj: int = 8) -> Corpus:
    """List the recordings of further training speakers.

    Args:
        folder: Kaldi data directory, or a tree ``SPEAKER/VIDEO/UTTERANCE.wav``.
        prefix: Prefix of the names of speakers and utterances.
        nj: Number of threads that list files.

    Raises:
        SVError: It is neither, its tables are inconsistent, or it has ``segments``.
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
    """Add further speakers to a corpus.

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
                f"{folder}: {what} have the same names as VoxCeleb's:"
                f" {name_some(shared)}; distinguish them with --extra_prefix"
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
            f" {name_some(differing)}"
        )
    corpus: Corpus = {}
    for utt, speaker in utt2spk.items():
        corpus.setdefault(prefix + speaker, []).append((prefix + utt, wavs[utt]))
    return corpus
