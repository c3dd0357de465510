"""Preparing a pretrained ASR model once, before any training process starts."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import fresh_folder, locked
from espnet2_sv.zoo.files import file_sha256, find_model_files

# Files of a resolved model
CONFIG = "config.yaml"
WEIGHTS = "model.pth"
TOKENS = "tokens.txt"
BPE_MODEL = "bpe.model"
SYMBOLS = "non_linguistic_symbols.txt"
STATS = "feats_stats.npz"
# Where it came from; it appears together with the rest, so it means "complete"
RECORD = "source.json"
RECORD_KEYS = ("source", "sha256", "summary")


def resolve_asr(source: str | os.PathLike, outdir: str | os.PathLike) -> dict[str, Any]:
    """Find, check and unpack a pretrained ASR model; nothing is done twice.

    ``outdir`` becomes an unpacked model that :func:`~espnet2_sv.asr.load_asr_bundle`
    accepts. Its configuration refers to files relative to the current directory, as
    ``outdir`` was given, so that ESPnet's own tools can load it. A model that this
    function put there earlier is replaced if it is another one.

    Args:
        source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory with
            ``meta.yaml``, or the ``exp/`` directory of a training run.
        outdir: The folder to make.

    Returns:
        The summary of :meth:`~espnet2_sv.asr.bundle.AsrBundle.summary`.

    Raises:
        SVError: The model cannot be used, or ``outdir`` holds something else.
    """
    outdir, name = Path(outdir), str(source)
    content = _content_sha256(name)
    record = _read_record(outdir)
    if record is not None and _is_of(record, name, content):
        return record["summary"]
    with locked(outdir):
        return _resolve(name, content, outdir)


def _resolve(name: str, content: str | None, outdir: Path) -> dict[str, Any]:
    """Resolve the model, unless another process has just done it."""
    record = _read_record(outdir)
    if record is not None and _is_of(record, name, content):
        return record["summary"]
    occupied = outdir.exists() and (not outdir.is_dir() or any(outdir.iterdir()))
    if record is None and occupied:
        raise SVError(f"{outdir}: holds something else; choose another folder")
    from espnet2_sv.asr.bundle import load_asr_bundle  # loads torch and ESPnet

    with fresh_folder(outdir, replace=record is not None) as part:
        unpacked = part / "unpacked"
        bundle = load_asr_bundle(find_model_files(name, "asr", workdir=unpacked))
        summary = bundle.summary()
        write_model(bundle, part, outdir)
        _write_meta(part)
        shutil.rmtree(unpacked, ignore_errors=True)
        record = {
            "source": name,
            "sha256": content or bundle.weights_sha256,
            "summary": summary,
        }
        (part / RECORD).write_text(
            json.dumps(record, indent=1) + "\n", encoding="utf-8"
        )
    logging.info("%s is now in %s", name, outdir)
    return summary


def _read_record(outdir: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((outdir / RECORD).read_text(encoding="utf-8"))
        if isinstance(record, dict) and record.keys() >= {*RECORD_KEYS}:
            return record
    return None


def _is_of(record: dict[str, Any], name: str, content: str | None) -> bool:
    return record["source"] == name if content is None else record["sha256"] == content


def _content_sha256(source: str) -> str | None:
    """Return a hash of a local source's contents; None for a tag."""
    path = Path(os.path.expanduser(source))
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        return None
    files = find_model_files(path, "asr")
    return hashlib.sha256("".join(files.fingerprint()).encode()).hexdigest()


def original_source(source: str | os.PathLike) -> str:
    """Return the source that a resolved model came from, or else the source itself."""
    record = _read_record(Path(os.path.expanduser(source)))
    return str(source) if record is None else record["source"]


def write_model(bundle, part: Path, outdir: Path) -> None:
    """Write everything that ESPnet needs to decode with a model to one folder.

    Args:
        bundle: The :class:`~espnet2_sv.asr.bundle.AsrBundle`.
        part: The folder, which exists.
        outdir: Where the folder will be, for the paths in its configuration.
    """
    import torch

    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump
    from espnet2_sv.asr.build import restore_stats

    conf, state = dict(vars(bundle.args)), bundle.model.state_dict()
    torch.save(
        {name: tensor.cpu().clone() for name, tensor in state.items()}, part / WEIGHTS
    )
    tokens = "".join(f"{token}\n" for token in conf["token_list"])
    (part / TOKENS).write_text(tokens, encoding="utf-8")
    restore_stats(conf, state, part / STATS, recorded=outdir / STATS)
    for key, name in (("bpemodel", BPE_MODEL), ("non_linguistic_symbols", SYMBOLS)):
        if isinstance(conf[key], str) and os.path.isfile(conf[key]):
            shutil.copyfile(conf[key], part / name)
            conf[key] = str(outdir / name)
    if conf["token_type"] == "bpe" and not (part / BPE_MODEL).is_file():
        logging.warning(
            "the BPE model %s is missing: text cannot be decoded", conf["bpemodel"]
        )
    with open(part / CONFIG, "w", encoding="utf-8") as stream:
        yaml_no_alias_safe_dump(conf, stream, indent=2, sort_keys=False)


def _write_meta(part: Path) -> None:
    import torch
    import yaml

    from espnet2 import __version__

    meta = {
        "yaml_files": {"asr_train_config": CONFIG},
        "files": {"asr_model_file": WEIGHTS},
        "espnet": __version__,
        "torch": str(torch.__version__),
    }
    (part / "meta.yaml").write_text(yaml.safe_dump(meta), encoding="utf-8")
