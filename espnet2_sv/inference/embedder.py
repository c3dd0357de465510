"""Embedding a Kaldi ``wav.scp``: resumable, and distributed over devices."""

import functools
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from espnet2_sv.data.job_split import select_split
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import Stamp, locked
from espnet2_sv.inference.extractors import (
    EmbeddingExtractor,
    Extractor,
    JointExtractor,
    Precision,
)
from espnet2_sv.inference.progress import progress_bar
from espnet2_sv.inference.shards import Shard, make_shards, merge_parts
from espnet2_sv.inference.speech_activity import detector_version
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.inference.workers import Job, embed_shards, run_processes
from espnet2_sv.models.load import check_device
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.models.stock_model import StockSpeakerModel
from espnet2_sv.zoo.source import SpeakerSource

Loader = Callable[[str, Precision], WaveformEmbedder]  # by device
STAMP = ".made_from.json"
OUTPUTS = ("xvector.ark", "xvector.scp", "utt2dur", "failed")


@dataclass(frozen=True)
class EmbedReport:
    """How a run of :func:`process_wav_scp` ended.

    Attributes:
        embedded: Utterances with an embedding; None if this run only did one of
            several shards.
        failed: Utterances without one, listed in the file ``failed``; None likewise.
        new: Utterances that this run processed.
    """

    embedded: int | None
    failed: int | None
    new: int


def embed_wav_scp(
    source: str | Path,
    wav_scp: str | Path,
    output_dir: str | Path,
    *,
    model_file: str | Path | None = None,
    asr: str | Path | None = None,
    **options: Any,
) -> EmbedReport:
    """Embed each utterance of a ``wav.scp`` once; see :func:`process_wav_scp`.

    Args:
        source: The speaker model: a tag, zip, unpacked or training directory.
        wav_scp: Kaldi wav.scp.
        output_dir: Directory to write to.
        model_file: Weights other than the best of a training run.
        asr: The ASR model that an adaptor reads, if it is not where training had it.
        options: Further arguments of :func:`process_wav_scp`.
    """
    lists = [(wav_scp, output_dir)]
    return embed_wav_scps(source, lists, model_file=model_file, asr=asr, **options)[0]


def embed_wav_scps(
    source: str | Path,
    lists: Sequence[tuple[str | Path, str | Path]],
    *,
    model_file: str | Path | None = None,
    asr: str | Path | None = None,
    system: str | Path | None = None,
    **options: Any,
) -> list[EmbedReport]:
    """Embed several lists as :func:`embed_wav_scp` does one; the model is loaded once.

    Args:
        source: The speaker model.
        lists: Pairs of a ``wav.scp`` and the directory to write to.
        model_file: Weights other than the best of a training run.
        asr: The ASR model that an adaptor reads, if it is not where training had it.
        system: A JSON file to write first, with the model's size and compute; see
            :func:`espnet2_sv.inference.description.describe_model`.
        options: Further arguments of :func:`process_wav_scp`.

    Returns:
        A report for each list.

    Raises:
        SVError: Two lists have the same directory, or as :func:`process_wav_scp`.
    """
    folders = [Path(folder).absolute() for _, folder in lists]
    if len(set(folders)) < len(folders):
        raise SVError(
            f"{max(folders, key=folders.count)}: is given for two lists; choose another"
        )
    extractor = EmbeddingExtractor(SpeakerSource.resolve(source, model_file, asr))
    load = functools.cache(extractor.load)
    if system is not None:
        from espnet2_sv.inference.description import write_system

        model = load("cpu", _precision(**options)).model
        assert isinstance(model, SpeakerModel | StockSpeakerModel)
        write_system(model, system)
    return [process_wav_scp(extractor, *names, load=load, **options) for names in lists]


def recognise_wav_scp(
    source: str | Path,
    wav_scp: str | Path,
    output_dir: str | Path,
    *,
    model_file: str | Path | None = None,
    asr: str | Path | None = None,
    decode: str | None = None,
    decoding: dict[str, Any] | None = None,
    **options: Any,
) -> EmbedReport:
    """Transcribe and embed each utterance of a ``wav.scp`` in one encoder pass.

    Writes ``text`` in addition to what :func:`embed_wav_scp` writes.

    Args:
        source: A speaker adaptor.
        wav_scp: Kaldi wav.scp.
        output_dir: Directory to write to.
        model_file: Weights other than the best of a training run.
        asr: The ASR model that the adaptor reads, if it is not where training had it.
        decode: ``"greedy"`` or ``"beam"``, see
            :meth:`espnet2_sv.asr.recogniser.Recogniser.load`.
        decoding: Decoding options of ESPnet's ``Speech2Text``, for ``"beam"``.
        options: Further arguments of :func:`process_wav_scp`.
    """
    model = SpeakerSource.resolve(source, model_file, asr)
    extractor = JointExtractor(model, decode, decoding or {})
    return process_wav_scp(extractor, wav_scp, output_dir, **options)


def process_wav_scp(
    extractor: Extractor,
    wav_scp: str | Path,
    output_dir: str | Path,
    *,
    ngpu: int = 0,
    nj: int = 1,
    dtype: str = "float32",
    max_seconds: float | None = None,
    batch_seconds: float = 240.0,
    num_workers: int = 2,
    skip_bad: bool = False,
    allow_pipes: bool = False,
    channel: int | None = None,
    vad: bool | None = None,
    resume: bool = True,
    shard: str | None = None,
    shard_size: int | None = None,
    load: Loader | None = None,
) -> EmbedReport:
    """Process each utterance of a ``wav.scp`` once.

    Writes ``xvector.ark`` and ``xvector.scp`` (Kaldi float vectors, not
    length-normalised, in the order of the ``wav.scp``), ``utt2dur`` (seconds),
    ``failed`` (utterance and reason); ``text``, where the extractor transcribes; and
    ``utt2speech`` (seconds of speech), where speech is looked for.
    Finished shards are kept in ``output_dir/parts`` until all are done, so a repeated
    call continues where the last one was killed. Shards of another model, setting or
    recording are not reused.

    Args:
        extractor: What each recording is turned into.
        wav_scp: Kaldi wav.scp: files, offsets in an ark, or commands (see
            ``allow_pipes``).
        output_dir: Directory to write to. ``xvector.scp`` refers to the ark by this
            path as given.
        ngpu: GPUs to use, one process each; 0 for the CPU.
        nj: Processes on the CPU.
        dtype: float32, or float16 / bfloat16 for mixed precision.
        max_seconds: A longer recording is embedded in pieces, see
            :class:`espnet2_sv.inference.waveforms.WaveformEmbedder`; None means the
            extractor's own.
        batch_seconds: Bound on a batch's padded duration, in seconds.
        num_workers: Audio-reading threads per process.
        skip_bad: Continue after a recording that cannot be embedded, and list it in
            ``failed``.
        allow_pipes: Run the commands in the ``wav.scp``.
        channel: Channel to use, counted from 1; None means the mean of all.
        vad: Look for speech; None means if silero-vad is installed. Embeddings do not
            depend on it.
        resume: Use finished shards of an earlier run.
        shard: ``"i/n"``: process the i-th of n parts of the list without merging; a
            last call without it merges.
        shard_size: Utterances per shard; by default a 64th of the list, but 16 to 256.
            A killed run loses at most the shards in progress.
        load: Loads the model if one process suffices; ``extractor.load`` by default.

    Raises:
        SVError: A recording cannot be embedded and ``skip_bad`` is not set, none can,
            or an argument is wrong.
    """
    for name, value, least in (
        ("ngpu", ngpu, 0),
        ("nj", nj, 1),
        ("num_workers", num_workers, 0),
    ):
        if value < least:
            raise SVError(f"{name} {value} must be {least} or more")
    if ngpu > 0:
        check_device(f"cuda:{ngpu - 1}")
    output_dir = Path(output_dir)
    detector = detector_version(vad)
    if max_seconds is None:
        max_seconds = extractor.max_seconds
    job = Job(
        extractor,
        Precision(dtype, max_seconds, batch_seconds),
        output_dir / "parts",
        num_workers,
        skip_bad,
        allow_pipes,
        channel,
        detector is not None,
    )
    settings: dict[str, Any] = {
        "format": 3,
        "extractor": [type(extractor).__name__, extractor.fingerprint()],
        "dtype": dtype,
        "max_seconds": max_seconds,
    }
    if channel is not None:
        settings["channel"] = channel
    if detector is not None:
        settings["vad"] = detector
    wavs = _read_wav_scp(wav_scp)
    if shard_size is None:
        shard_size = default_shard_size(len(wavs))
    shards = make_shards(wavs, shard_size, settings)
    # jobs that each do one shard run side by side; the one that merges is alone
    with locked(output_dir, shared=shard is not None):
        if not resume:
            _remove_outputs(output_dir, extractor.gives_text)
        return _process(job, shards, output_dir, ngpu, nj, shard, load)


def _process(
    job: Job,
    shards: list[Shard],
    output_dir: Path,
    ngpu: int,
    nj: int,
    shard: str | None,
    load: Loader | None,
) -> EmbedReport:
    extractor, skip_bad = job.extractor, job.skip_bad
    made_from = "\n".join(s.key for s in shards)
    names = _outputs(extractor.gives_text, job.vad)
    stamp = Stamp(output_dir / STAMP, made_from, [output_dir / n for n in names])
    if shard is None and (counts := stamp.read()) and _names_its_ark(output_dir):
        logging.info(f"{output_dir}: up to date, nothing to do")
        return _finish(counts["embedded"], counts["failed"], 0, skip_bad, output_dir)
    wanted = list(select_split(shards, shard))
    pending = [s for s in wanted if not job.part_path(s).exists()]
    _embed(job, pending, wanted, ngpu, nj, load or extractor.load)
    new = sum(len(s.utterances) for s in pending)
    if shard is not None:
        logging.info(
            f"{output_dir}: shard {shard} is done; a call without --shard merges"
        )
        return EmbedReport(None, None, new)
    stamp.remove()
    embedded, failed = merge_parts(
        (job.part_path(s) for s in shards), output_dir, extractor.gives_text, job.vad
    )
    stamp.write(embedded=embedded, failed=failed)
    shutil.rmtree(job.parts_dir)
    return _finish(embedded, failed, new, skip_bad, output_dir)


def _precision(**options: Any) -> Precision:
    """Pick the precision from the options of :func:`process_wav_scp`."""
    names = {field.name for field in fields(Precision)}
    return Precision(
        **{
            name: value
            for name, value in options.items()
            if name in names and value is not None
        }
    )


def default_shard_size(utterances: int) -> int:
    """Return a shard size that keeps several processes busy and loses little to a kill.

    It depends on the list alone, so that all jobs cut the list alike.
    """
    return min(256, max(16, math.ceil(utterances / 64)))


def _embed(
    job: Job,
    pending: list[Shard],
    wanted: list[Shard],
    ngpu: int,
    nj: int,
    load: Loader,
) -> None:
    """Work on pending shards on all devices."""
    if not pending:
        return
    devices = [f"cuda:{i}" for i in range(ngpu)] or ["cpu"] * max(1, nj)
    devices = devices[: len(pending)]
    total = sum(len(s.utterances) for s in wanted)
    todo = sum(len(s.utterances) for s in pending)
    start = time.monotonic()
    with progress_bar(total, total - todo, "utterances") as progress:
        if len(devices) == 1:
            embed_shards(job, load(devices[0], job.precision), pending, progress)
        else:
            run_processes(job, devices, pending, progress)
    logging.info(f"processed {todo} utterances in {time.monotonic() - start:.1f} s")


def _finish(
    embedded: int, failed: int, new: int, skip_bad: bool, output_dir: Path
) -> EmbedReport:
    """Report; failures of an earlier run with ``skip_bad`` count without it, too."""
    if failed and (not skip_bad or not embedded):
        with open(output_dir / "failed", encoding="utf-8") as stream:
            utterance, _, reason = stream.readline().strip().partition(" ")
        raise SVError(
            f"utterance {utterance}: {reason} ({failed} of {embedded + failed} failed)"
        )
    if failed:
        logging.warning(
            f"{failed} utterances have no embedding: see {output_dir / 'failed'}"
        )
    return EmbedReport(embedded, failed, new)


def _read_wav_scp(path: str | Path) -> dict[str, str]:
    wavs = read_two_column(path)
    if not wavs:
        raise SVError(f"{path}: is empty; nothing to do")
    return wavs


def _outputs(with_text: bool, with_speech: bool) -> tuple[str, ...]:
    return (*OUTPUTS, *["text"] * with_text, *["utt2speech"] * with_speech)


def _names_its_ark(output_dir: Path) -> bool:
    """Whether ``xvector.scp`` names the ark by the folder as it was given."""
    with open(output_dir / "xvector.scp", encoding="utf-8") as stream:
        entry = stream.readline().partition(" ")[2]
    return entry.rpartition(":")[0] == str(output_dir / "xvector.ark")


def _remove_outputs(output_dir: Path, with_text: bool) -> None:
    for name in (*_outputs(with_text, True), STAMP):
        (output_dir / name).unlink(missing_ok=True)
    shutil.rmtree(output_dir / "parts", ignore_errors=True)
