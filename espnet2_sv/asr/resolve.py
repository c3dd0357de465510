"""Preparing a pretrained ASR model once, before any training process starts."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from espnet2_sv.zoo.files import find_model_files
from espnet2_sv.zoo.resolving import read_record, resolve_once

# Files of a resolved model
CONFIG = "config.yaml"
WEIGHTS = "model.pth"
TOKENS = "tokens.txt"
BPE_MODEL = "bpe.model"
SYMBOLS = "non_linguistic_symbols.txt"
STATS = "feats_stats.npz"


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
    outdir = Path(outdir)

    def fill(part: Path) -> tuple[dict[str, Any], str]:
        from espnet2_sv.asr.bundle import load_asr_bundle  # loads torch and ESPnet

        unpacked = part / "unpacked"
        bundle = load_asr_bundle(find_model_files(source, "asr", workdir=unpacked))
        write_package(bundle, part, outdir)
        shutil.rmtree(unpacked, ignore_errors=True)
        return bundle.summary(), bundle.weights_sha256

    return resolve_once(source, "asr", outdir, fill)


def original_source(source: str | os.PathLike) -> str:
    """Return the source that a resolved model came from, or else the source itself."""
    record = read_record(Path(os.path.expanduser(source)))
    return str(source) if record is None else record["source"]


def write_package(bundle, part: Path, outdir: Path) -> None:
    """Write an unpacked model with its ``meta.yaml``; see :func:`write_model`."""
    write_model(bundle, part, outdir)
    _write_meta(bundle, part)


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


def _write_meta(bundle, part: Path) -> None:
    import torch
    import yaml

    from espnet2 import __version__

    meta = {
        "yaml_files": {bundle.task.config_key: CONFIG},
        "files": {bundle.task.weights_key: WEIGHTS},
        "espnet": __version__,
        "torch": str(torch.__version__),
    }
    (part / "meta.yaml").write_text(yaml.safe_dump(meta), encoding="utf-8")
