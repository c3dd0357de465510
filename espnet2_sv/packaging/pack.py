"""Packing a trained speaker model as an ESPnet model-zoo archive."""

import io
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import espnet2
import torch
import yaml

from espnet2_sv import __version__
from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.decision import (
    CALIBRATION_FILE,
    THRESHOLD_FILE,
    ScoreDecision,
    read_threshold,
)
from espnet2_sv.models.distill_model import without_branch
from espnet2_sv.models.load import load_from_files
from espnet2_sv.packaging.adaptor import FORMATS, adaptor_package, asr_names
from espnet2_sv.packaging.model_card import model_card
from espnet2_sv.packaging.redact import redact_settings
from espnet2_sv.scoring.calibration import Calibration
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.source import OWN_SECTION, find_model_files

# What goes along if the exp directory has it.
COMPANIONS = ("spk2id", "RESULTS.md", CALIBRATION_FILE, THRESHOLD_FILE, "images/*.png")
Contents = dict[str, Path | bytes]


def pack_model(
    exp: str | Path,
    outpath: str | Path,
    *,
    model_file: str | Path | None = None,
    calibration: str | Path | None = None,
    options: Iterable[str | Path] = (),
    layout: str | None = None,
    asr: str | Path | None = None,
) -> list[str]:
    """Make a zip that ``Speech2Embedding.from_pretrained`` loads anywhere.

    It holds ``meta.yaml``, a model card ``README.md`` and, in ``exp/NAME``, the config
    without paths of this machine, the weights, and what lies beside them: ``spk2id``,
        ``RESULTS.md``,
    ``calibration.json``, ``threshold.json`` and ``images/*.png``. Config and weights
    are loaded once for a check.

    A speaker adaptor is packed with the ASR model that it reads, in ``asr``; such an
    archive is a source of both. In ``"joint"`` the ASR model stands first: ESPnet's own
    ``Speech2Text.from_pretrained`` loads it, too.

    Args:
        exp: Directory of the training run.
        outpath: The zip to write.
        model_file: Weights other than the best of the run.
        calibration: A calibration that is not in ``exp``; it is packed as
            ``calibration.json``.
        options: Further files or directories; they are packed under their own names.
        layout: ``"sv"``, the default. For adaptors also ``"joint"``, or ``"adaptor"``
            for the adaptor alone, without its training classes; the ASR model is
            attached in use.
        asr: The ASR model that an adaptor reads, if it is not where training had it.

    Returns:
        The names in the archive.

    Raises:
        SVError: Something is missing, or the packed model would not load.
    """
    exp, outpath = Path(exp), Path(outpath)
    if not exp.is_dir():
        raise SVError(
            f"{exp}: no such directory; give the exp directory of a training run"
        )
    if outpath.suffix != ".zip":
        raise SVError(f"{outpath}: the name of the archive must end in .zip")
    found = find_model_files(exp, kinds="sv")
    weights = Path(model_file) if model_file is not None else Path(found.weights)
    with tempfile.TemporaryDirectory() as workdir:
        if load_config(found.config).get("sv_task") == "adaptor":
            layout = layout or "sv"
            parts = _adaptor_parts(found.config, weights, layout, asr, Path(workdir))
        elif layout not in (None, "sv") or asr is not None:
            raise SVError(
                f"{exp}: holds no adaptor; leave out the format and the ASR model"
            )
        else:
            parts = _plain_parts(found.config, weights)
        contents = _contents(exp, weights.name, parts, calibration, options)
        _write_zip(outpath, contents)
    return list(contents)


@dataclass(frozen=True)
class _Parts:
    """What differs between the formats."""

    settings: dict[str, Any]
    weights: Path | bytes
    model: torch.nn.Module
    layout: str = "sv"
    asr: AsrBundle | None = None
    asr_files: Contents = field(default_factory=dict)


def _plain_parts(config: Path, weights: Path) -> _Parts:
    settings = redact_settings(load_config(config))
    return _Parts(settings, _weights_in_use(weights), _load_check(settings, weights))


def _adaptor_parts(
    config: Path, weights: Path, layout: str, asr, workdir: Path
) -> _Parts:
    if layout not in FORMATS:
        raise SVError(f"format {layout!r} is unknown; choose {', '.join(FORMATS)}")
    package = adaptor_package(config, weights, layout, asr, workdir)
    return _Parts(
        package.settings,
        package.weights,
        package.model,
        layout,
        package.bundle,
        package.asr_files,
    )


def _contents(
    exp: Path, weights_name: str, parts: _Parts, calibration, options
) -> Contents:
    """Gather all files by their names in the archive."""
    folder = PurePosixPath("exp", exp.resolve().name)
    names = {
        "train_config": f"{folder}/config.yaml",
        "model_file": f"{folder}/{weights_name}",
    }
    contents: Contents = {
        "meta.yaml": _meta(names, asr_names() if parts.asr_files else {}, parts.layout),
        names["train_config"]: (
            yaml.safe_dump(parts.settings, allow_unicode=True).encode()
        ),
        names["model_file"]: parts.weights,
        **parts.asr_files,
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
        card = model_card(
            folder.name,
            parts.settings,
            parts.model,
            _results(contents),
            calibrated,
            parts.asr,
            parts.layout,
        )
        contents["README.md"] = card.encode()
    return contents


def _load_check(settings: dict[str, Any], weights: Path) -> torch.nn.Module:
    """Load the model from what is going to be packed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
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
        ScoreDecision(Calibration.load(calibration))
    return calibration is not None


def _meta(names: dict[str, str], asr: dict[str, str], layout: str) -> bytes:
    """Return meta.yaml as ESPnet writes it, and what ESPnet must not see in a section of our own.

    Args:
        names: Configuration and weights of the speaker model.
        asr: Those of the ASR model in the package, if there is one.
        layout: In ``"joint"``, the ASR model is ESPnet's to load.
    """
    shown, own = (asr, names) if layout == "joint" else (names, asr)
    config, weights = shown.items()
    meta = {
        "files": dict([weights]),
        "yaml_files": dict([config]),
        "timestamp": time.time(),
        "python": sys.version,
        "torch": str(torch.__version__),
        "espnet": espnet2.__version__,
        OWN_SECTION: {"version": __version__, **own},
    }
    return yaml.safe_dump(meta).encode()


def _named_files(option: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, file) of a file, or of all files below a directory."""
    if option.is_dir():
        for path in sorted(option.rglob("*")):
            if path.is_file():
                yield (
                    f"{option.resolve().name}/{path.relative_to(option).as_posix()}",
                    path,
                )
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
