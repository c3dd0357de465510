"""Packing a trained speaker model as an ESPnet model-zoo archive."""

import io
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import espnet2
import torch
import yaml

from espnet2_sv import __version__
from espnet2_sv.asr.archive import find_model_files
from espnet2_sv.asr.checkpoint import load_config, load_state_dict
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.decision import (
    CALIBRATION_FILE,
    THRESHOLD_FILE,
    Decider,
    read_threshold,
)
from espnet2_sv.inference.loading import load_from_files
from espnet2_sv.inference.modelcard import model_card
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.scoring.calibration import Calibration

# What goes along if the exp directory has it.
COMPANIONS = ("spk2id", "RESULTS.md", CALIBRATION_FILE, THRESHOLD_FILE, "images/*.png")
# Settings that name hosts and accounts, e.g. dist_master_addr, wandb_entity.
PRIVATE_PREFIXES = ("dist_", "wandb_")

Contents = dict[str, Path | bytes]


def pack_model(
    exp: str | Path,
    outpath: str | Path,
    *,
    model_file: str | Path | None = None,
    calibration: str | Path | None = None,
    options: Iterable[str | Path] = (),
) -> list[str]:
    """Make a zip that ``Speech2Embedding.from_pretrained`` loads anywhere.

    It holds ``meta.yaml``, a model card ``README.md`` and, in ``exp/NAME``, the config without
    paths of this machine, the weights, and what lies beside them: ``spk2id``, ``RESULTS.md``,
    ``calibration.json``, ``threshold.json`` and ``images/*.png``. Config and weights are loaded
    once for a check.

    Args:
        exp: Directory of the training run.
        outpath: The zip to write.
        model_file: Weights other than the best of the run.
        calibration: A calibration that is not in ``exp``; it is packed as ``calibration.json``.
        options: Further files or directories; they are packed under their own names.

    Returns:
        The names in the archive.

    Raises:
        SVError: Something is missing, or the packed model would not load.
    """
    exp, outpath = Path(exp), Path(outpath)
    if not exp.is_dir():
        raise SVError(f"{exp}: no such directory; give the exp directory of a training run")
    if outpath.suffix != ".zip":
        raise SVError(f"{outpath}: the name of the archive must end in .zip")
    found = find_model_files(exp, kinds="sv")
    weights = Path(model_file) if model_file is not None else Path(found.weights)
    settings = clean_settings(load_config(found.config))
    config = yaml.safe_dump(settings, allow_unicode=True).encode()
    model = _load_check(config, weights)

    folder = PurePosixPath("exp", exp.resolve().name)
    names = {"train_config": f"{folder}/config.yaml", "model_file": f"{folder}/{weights.name}"}
    contents: Contents = {
        "meta.yaml": _meta(**names),
        names["train_config"]: config,
        names["model_file"]: _weights_in_use(weights),
    }
    for pattern in COMPANIONS:
        for path in sorted(exp.glob(pattern)):
            contents[f"{folder}/{path.relative_to(exp).as_posix()}"] = path
    if calibration is not None:
        contents[f"{folder}/{CALIBRATION_FILE}"] = Path(calibration)
    calibrated = _check_decision_files(contents, folder)
    for option in options:
        for name, path in _named_files(Path(option)):
            if name in contents:
                raise SVError(f"{path}: the archive has a {name} already; rename it")
            contents[name] = path
    if "README.md" not in contents:
        card = model_card(folder.name, settings, model, _results(contents), calibrated)
        contents["README.md"] = card.encode()
    _write_zip(outpath, contents)
    return list(contents)


def clean_settings(value: Any) -> Any:
    """Return training settings without what tells of the training machine.

    A path outside of the recipe (absolute, ``~/x``, ``../x``, ``file:///x``) is cut to its last
    component; names of hosts and accounts become null. The model needs neither.
    """
    if isinstance(value, dict):
        return {key: _clean_setting(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_settings(item) for item in value]
    if isinstance(value, str) and _is_outside(value):
        return PurePosixPath(value).name
    return value


def _clean_setting(key: str, value: Any) -> Any:
    if key == "token_list":  # tokens such as "/" are no paths
        return value
    return None if key.startswith(PRIVATE_PREFIXES) else clean_settings(value)


def _is_outside(text: str) -> bool:
    if "/" not in text:
        return False
    return text.startswith(("/", "~", "file:")) or ".." in PurePosixPath(text).parts


def _load_check(config: bytes, weights: Path) -> torch.nn.Module:
    """Load the model from what is going to be packed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(config)
        try:
            return load_from_files(path, weights)[0]
        except SVError as e:
            raise SVError(f"the packed model would not load: {e}") from e


def _weights_in_use(weights: Path) -> Path | bytes:
    """Return the weights without what only training needs: the branch of a distilled student."""
    state = load_state_dict(weights)
    used = without_branch(state)
    if len(used) == len(state):
        return weights
    stream = io.BytesIO()
    torch.save(used, stream)
    return stream.getvalue()


def _check_decision_files(contents: Contents, folder: PurePosixPath) -> bool:
    """Refuse a calibration or threshold that cannot be used; tell whether it is calibrated."""
    calibration = contents.get(f"{folder}/{CALIBRATION_FILE}")
    threshold = contents.get(f"{folder}/{THRESHOLD_FILE}")
    if threshold is not None:
        read_threshold(threshold)
    if calibration is not None:
        Decider(Calibration.load(calibration))
    return calibration is not None


def _meta(train_config: str, model_file: str) -> bytes:
    """Return meta.yaml as ESPnet writes it."""
    meta = {
        "files": {"model_file": model_file},
        "yaml_files": {"train_config": train_config},
        "timestamp": time.time(),
        "python": sys.version,
        "torch": str(torch.__version__),
        "espnet": espnet2.__version__,
        "espnet2_sv": __version__,
    }
    return yaml.safe_dump(meta).encode()


def _named_files(option: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, file) of a file, or of all files below a directory."""
    if option.is_dir():
        for path in sorted(option.rglob("*")):
            if path.is_file():
                yield f"{option.resolve().name}/{path.relative_to(option).as_posix()}", path
    else:
        yield option.name, option


def _results(contents: Contents) -> str | None:
    """Return the text of the packed RESULTS.md that lies highest, if there is one."""
    names = [name for name in contents if PurePosixPath(name).name == "RESULTS.md"]
    if not names:
        return None
    return contents[min(names, key=len)].read_text(encoding="utf-8")


def _write_zip(outpath: Path, contents: Contents) -> None:
    """Write an archive; weights hardly shrink, so nothing is compressed."""
    with (
        atomic_write(outpath, "wb") as stream,
        zipfile.ZipFile(stream, "w", strict_timestamps=False) as archive,
    ):
        for name, content in contents.items():
            if isinstance(content, bytes):
                archive.writestr(name, content)
                continue
            try:
                archive.write(content.resolve(), name)
            except OSError as e:
                raise SVError(f"{content}: cannot be packed ({e.strerror})") from e
