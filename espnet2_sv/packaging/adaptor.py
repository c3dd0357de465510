"""What a package of a speaker adaptor holds: with the ASR model that it reads, or without."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_sv.asr.bundle import AsrBundle
from espnet2_sv.asr.bundle import load_from_files as load_asr_files
from espnet2_sv.asr.resolve import CONFIG, WEIGHTS, write_model
from espnet2_sv.errors import SVError
from espnet2_sv.models.adaptor_model import find_asr, load_on
from espnet2_sv.packaging.redact import redact_settings
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.download import looks_like_a_path

FORMATS = ("sv", "joint", "adaptor")
ASR_FOLDER = "asr"  # in the archive


@dataclass(frozen=True)
class AdaptorPackage:
    """Everything of a package that depends on its format.

    Attributes:
        settings: The adaptor's configuration.
        weights: The adaptor's weights.
        model: The loaded speaker model.
        bundle: The ASR model.
        asr_files: Files of the ASR model by their names in the archive; none in
            ``"adaptor"``.
    """

    settings: dict[str, Any]
    weights: Path
    model: torch.nn.Module
    bundle: AsrBundle
    asr_files: dict[str, Path] = field(default_factory=dict)


def adaptor_package(
    config: Path,
    weights: Path,
    layout: str,
    asr: str | Path | None,
    workdir: Path,
) -> AdaptorPackage:
    """Gather what goes into a package, and load it for a check.

    Args:
        config: The adaptor's config.yaml in its training run.
        weights: Its weights.
        layout: One of :data:`FORMATS`. ``"sv"`` and ``"joint"`` hold the ASR model;
            ``"adaptor"`` names it, and leaves out the training classes.
        asr: The ASR model, if it is not where training had it.
        workdir: An empty folder for files that are made.

    Raises:
        SVError: There is no ASR model, or it is another one than the adaptor was
            trained on.
    """
    files = find_asr(config, asr)
    bundle = load_asr_files(files, str(files.root))
    recorded = load_config(config)
    settings = redact_settings(recorded)
    if layout == "adaptor":
        settings |= {"asr": _tag(recorded), "loss": None, "loss_conf": {}}
        weights = _without_classes(weights, workdir / weights.name)
        asr_files = {}
    else:
        settings["asr"] = None  # it is in the package
        asr_files = _write_asr(bundle, workdir / ASR_FOLDER)
    path = workdir / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    try:
        model, _ = load_on(bundle, path, weights)
    except SVError as e:
        raise SVError(f"the packed model would not load: {e}") from e
    return AdaptorPackage(settings, weights, model.eval(), bundle, asr_files)


def asr_names() -> dict[str, str]:
    """Return what meta.yaml says of the ASR model's files: the configuration and the weights."""
    return {
        "asr_train_config": f"{ASR_FOLDER}/{CONFIG}",
        "asr_model_file": f"{ASR_FOLDER}/{WEIGHTS}",
    }


def _tag(recorded: dict[str, Any]) -> str | None:
    """Return the ASR model's tag, by which anybody finds it, if training was told one."""
    source = (recorded.get("asr_init") or {}).get("source") or ""
    if not source or looks_like_a_path(source) or Path(source).exists():
        return None
    return source


def _without_classes(weights: Path, path: Path) -> Path:
    state = load_state_dict(weights)
    torch.save({k: v for k, v in state.items() if not k.startswith("loss.")}, path)
    return path


def _write_asr(bundle: AsrBundle, folder: Path) -> dict[str, Path]:
    """Write the ASR model so that ESPnet finds its files once the archive is unpacked."""
    folder.mkdir()
    write_model(bundle, folder, Path(ASR_FOLDER))
    config = folder / CONFIG
    cleaned = redact_settings(load_config(config))
    config.write_text(yaml.safe_dump(cleaned, allow_unicode=True), encoding="utf-8")
    return {f"{ASR_FOLDER}/{path.name}": path for path in sorted(folder.iterdir())}
