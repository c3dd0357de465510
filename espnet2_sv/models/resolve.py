"""Putting a trained speaker model into an ``exp`` directory, to be evaluated there."""

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import STORAGE_ERRORS
from espnet2_sv.zoo.files import file_sha256
from espnet2_sv.zoo.resolving import resolve_once
from espnet2_sv.zoo.source import SpeakerSource

CONFIG = "config.yaml"
WEIGHTS = "model.pth"
LABELS = "spk2id"
ASR_FOLDER = "asr"  # of the ASR model that an adaptor reads


def resolve_speaker_model(
    source: str | os.PathLike,
    outdir: str | os.PathLike,
    asr: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Find, check and copy a trained speaker model; nothing is done twice.

    ``outdir`` becomes like the ``exp`` directory of a training run, and is a source
    itself. Calibration and threshold are not copied, as they belong to the audio that
    they were made on. An adaptor's ASR model is put into ``outdir/asr``, which ESPnet's
    own tools can load, too. A model that this function put there earlier is replaced,
    with all that was made of it since, if it is another one.

    Args:
        source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory with
            ``meta.yaml``, or the ``exp/`` directory of a training run; of this project
            or of ESPnet's own speaker task.
        outdir: The folder to make.
        asr: The ASR model that an adaptor reads, if it is not in its package or where
            training had it.

    Returns:
        ``task`` (see :class:`~espnet2_sv.zoo.source.SpeakerSource`), ``embedding``
        (number of values) and ``sample_rate`` (Hz).

    Raises:
        SVError: The model cannot be used, or ``outdir`` holds something else.
    """
    outdir = Path(outdir)

    def fill(part: Path) -> tuple[dict[str, Any], str]:
        unpacked = part / "unpacked"
        found = SpeakerSource.resolve(source, asr=asr, workdir=unpacked)
        summary = _write(found, part, outdir)
        sha256 = file_sha256(found.files.weights)
        shutil.rmtree(unpacked, ignore_errors=True)
        return summary, sha256

    return resolve_once(source, "sv", outdir, fill)


def _write(source: SpeakerSource, part: Path, outdir: Path) -> dict[str, Any]:
    """Load a model as a check, and write its files.

    Args:
        source: The model.
        part: The folder to write.
        outdir: Where the folder will be, for the paths in the configuration.
    """
    from espnet2_sv.asr.bundle import load_asr_bundle
    from espnet2_sv.asr.resolve import write_package
    from espnet2_sv.models.load import load_adaptor
    from espnet2_sv.models.stock_model import StockSpeakerModel, load_embedding_model

    if source.asr is None:
        model, _ = load_embedding_model(source)
        _copy(source.files.config, part / CONFIG)
    else:
        bundle = load_asr_bundle(source.asr)
        model, _ = load_adaptor(bundle, source.files)
        (part / ASR_FOLDER).mkdir()
        write_package(bundle, part / ASR_FOLDER, outdir / ASR_FOLDER)
        settings = source.settings | {"asr": str(outdir / ASR_FOLDER)}
        text = yaml.safe_dump(settings, allow_unicode=True)
        (part / CONFIG).write_text(text, encoding="utf-8")
    _copy(source.files.weights, part / WEIGHTS)
    if (source.folder / LABELS).is_file():
        _copy(source.folder / LABELS, part / LABELS)
    if isinstance(model, StockSpeakerModel):
        embedding, sample_rate = model.embedding_size, model.sample_rate
    else:
        embedding, sample_rate = model.head.embed_dim, model.backbone.sample_rate
    return {"task": source.task, "embedding": embedding, "sample_rate": sample_rate}


def _copy(path: Path, target: Path) -> None:
    try:
        shutil.copyfile(path, target)
    except OSError as e:
        if e.errno in STORAGE_ERRORS:
            raise
        raise SVError(f"{path}: cannot be copied ({e.strerror})") from e
