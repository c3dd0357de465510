"""Enrolling the speakers of a Kaldi data directory, so that a kill loses little."""

import os
import shutil
from pathlib import Path
from typing import Any

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.inference.embedder import embed_wav_scp
from espnet2_sv.inference.speaker_template import SpeakerTemplate, check_name
from espnet2_sv.inference.speech_limits import LEAST_WEIGHT, SpeechLimits
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.textfile import parse_float


def embed_speakers(
    source: str | Path,
    wav_scp: str | Path,
    utt2spk: str | Path,
    work_dir: str | Path,
    limits: SpeechLimits,
    **options: Any,
) -> dict[str, SpeakerTemplate]:
    """Embed recordings and combine those of each speaker.

    Args:
        source: The model.
        wav_scp: Kaldi wav.scp.
        utt2spk: Their speakers.
        work_dir: Directory for the embeddings. A repeated call continues where the last
            one was killed; remove it with :func:`discard` once they are in use.
        limits: How much speech a recording must have, where it is looked for.
        options: Further arguments of
            :func:`espnet2_sv.inference.embedder.process_wav_scp`.

    Returns:
        Templates by speaker, in the order of their first utterance.

    Raises:
        SVError: An utterance has no speaker, cannot be embedded or has too little
            speech.
    """
    utterances = read_two_column(wav_scp)
    speaker_of = read_two_column(utt2spk)
    for utterance in utterances:
        if utterance not in speaker_of:
            raise SVError(
                f"{utt2spk}: has no {utterance}, which is in {wav_scp}; add it"
            )
        check_name(speaker_of[utterance])
    embed_wav_scp(source, wav_scp, work_dir, **options)
    folder = Path(work_dir)
    names, vectors = read_embeddings(folder / "xvector.scp")
    seconds = _numbers(folder / "utt2dur", names)
    speech = seconds
    if (folder / "utt2speech").exists():
        speech = _numbers(folder / "utt2speech", names)
        for name, found in zip(names, speech, strict=True):
            try:
                limits.check(found)
            except SVError as e:
                raise SVError(f"utterance {name}: {e}") from e
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(speaker_of[name], []).append(row)
    return {
        speaker: SpeakerTemplate.of_recordings(
            vectors[chosen],
            [seconds[row] for row in chosen],
            [max(speech[row], LEAST_WEIGHT) for row in chosen],
        )
        for speaker, chosen in rows.items()
    }


def work_folder(store: str | os.PathLike) -> Path:
    """Return the directory beside a store where embeddings are until it has them."""
    path = Path(os.path.abspath(store))
    return path.with_name(f"{path.name}.embeddings")


def discard(work_dir: Path) -> None:
    """Remove a directory of embeddings."""
    shutil.rmtree(work_dir, ignore_errors=True)


def _numbers(path: Path, names: list[str]) -> list[float]:
    table = read_two_column(path)
    return [parse_float(table[name]) for name in names]
