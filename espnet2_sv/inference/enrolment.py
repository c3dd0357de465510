"""Enrolling the speakers of a Kaldi data directory, so that a kill loses little."""

import hashlib
import json
import logging
import shutil
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write, locked
from espnet2_sv.inference.embedder import STAMP, process_wav_scp
from espnet2_sv.inference.extractors import EmbeddingExtractor, Precision
from espnet2_sv.inference.speaker_template import SpeakerTemplate, check_name
from espnet2_sv.inference.speech_limits import LEAST_WEIGHT, SpeechLimits
from espnet2_sv.inference.verifier import SpeakerVerifier
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.textfile import parse_float
from espnet2_sv.zoo.source import SpeakerSource


def enroll_list(
    verifier: SpeakerVerifier,
    source: str | Path,
    store: str | Path,
    wav_scp: str | Path,
    utt2spk: str | Path,
    *,
    asr: str | Path | None = None,
    replace: bool = False,
    skip_bad: bool = False,
    **options: Any,
) -> None:
    """Embed a list of recordings, enrol their speakers and save the store.

    The embeddings are in ``STORE.embeddings`` until the store has them: a repeated call
    continues where the last one was killed, and enrols nothing twice. With
    ``skip_bad``, recordings that are left out are listed in ``STORE.failed`` (utterance
    and reason).

    Args:
        verifier: The model, and speakers that are to be saved, too.
        source: Where the model is from.
        store: The file of speakers.
        wav_scp: Kaldi wav.scp.
        utt2spk: Their speakers.
        asr: The ASR model that an adaptor reads, if it is not where training had it.
        replace: Forget earlier recordings of these speakers.
        skip_bad: Leave out recordings that cannot be embedded or have too little
            speech; otherwise they are refused.
        options: Further arguments of
            :func:`espnet2_sv.inference.embedder.process_wav_scp`.

    Raises:
        SVError: An utterance has no speaker; a recording is refused, or all are.
    """
    store = Path(store).absolute()
    folder = store.with_name(f"{store.name}.embeddings")
    wavs, speaker_of = read_two_column(wav_scp), read_two_column(utt2spk)
    for utterance in wavs:
        if utterance not in speaker_of:
            raise SVError(
                f"{utt2spk}: has no {utterance}, which is in {wav_scp}; add it"
            )
        check_name(speaker_of[utterance])
    extractor = EmbeddingExtractor(SpeakerSource.resolve(source, asr=asr))

    def load(device: str, precision: Precision) -> WaveformEmbedder:
        if device != "cpu":
            return extractor.load(device, precision)
        model = verifier.speech2embedding.spk_model
        return WaveformEmbedder(model, **asdict(precision))

    # not the folder's own lock, which process_wav_scp takes
    with locked(store.with_name(f"{store.name}.list")):
        verifier.load(store, missing_ok=True)
        process_wav_scp(
            extractor, wav_scp, folder, load=load, skip_bad=skip_bad, **options
        )
        found, failed = _templates(folder, speaker_of, verifier.speech_limits, skip_bad)
        if not found:
            utterance, reason = next(iter(failed.items()))
            raise SVError(f"utterance {utterance}: {reason} (as all others)")
        key = _key(folder, utt2spk, replace)
        verifier.speakers.add_list(key, found, replace)
        _report(store, failed, len(wavs), {speaker_of[u] for u in failed} - set(found))
        verifier.save(store)
        shutil.rmtree(folder, ignore_errors=True)


def _templates(
    folder: Path, speaker_of: dict[str, str], limits: SpeechLimits, skip_bad: bool
) -> tuple[dict[str, SpeakerTemplate], dict[str, str]]:
    """Combine each speaker's embeddings; also return what is wrong with the others."""
    failed = {}
    if (folder / "failed").stat().st_size:
        failed = read_two_column(folder / "failed")
    names, vectors = read_embeddings(folder / "xvector.scp")
    seconds = _numbers(folder / "utt2dur", names)
    speech = seconds
    if (folder / "utt2speech").exists():
        speech = _numbers(folder / "utt2speech", names)
        for name, amount in zip(names, speech, strict=True):
            try:
                limits.check(amount)
            except SVError as e:
                if not skip_bad:
                    raise SVError(f"utterance {name}: {e}") from e
                failed[name] = str(e)
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name not in failed:
            rows.setdefault(speaker_of[name], []).append(row)
    found = {
        speaker: SpeakerTemplate.of_recordings(
            vectors[chosen],
            [seconds[row] for row in chosen],
            [max(speech[row], LEAST_WEIGHT) for row in chosen],
        )
        for speaker, chosen in rows.items()
    }
    return found, failed


def _key(folder: Path, utt2spk: str | Path, replace: bool) -> str:
    """Return a key of this enrolment, which a repeated call finds in the folder."""
    content = hashlib.sha256((folder / STAMP).read_bytes())
    content.update(Path(utt2spk).read_bytes() + bytes([replace]))
    path = folder / ".key.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if known.get("of") != content.hexdigest():
        known = {"of": content.hexdigest(), "key": uuid.uuid4().hex}
        with atomic_write(path) as stream:
            json.dump(known, stream)
    return known["key"]


def _report(store: Path, failed: dict[str, str], total: int, missing: set[str]) -> None:
    """List the recordings that are left out."""
    path = store.with_name(f"{store.name}.failed")
    if not failed:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as stream:
        stream.writelines(f"{name} {reason}\n" for name, reason in failed.items())
    logging.warning(
        f"{len(failed)} of {total} recordings are not enrolled, see {path}"
        + (f"; nobody is enrolled as {', '.join(sorted(missing))}" if missing else "")
    )


def _numbers(path: Path, names: list[str]) -> list[float]:
    table = read_two_column(path)
    return [parse_float(table[name]) for name in names]
