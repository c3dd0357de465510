"""What an archive holds of a speaker model, by its package format."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_sv.asr.bundle import AsrBundle, load_asr_bundle
from espnet2_sv.asr.resolve import CONFIG, WEIGHTS, write_model
from espnet2_sv.errors import SVError
from espnet2_sv.heads.pooled import PooledHead
from espnet2_sv.models.espnet_names import espnet_equivalent, espnet_settings
from espnet2_sv.models.load import load_adaptor, load_speaker_model
from espnet2_sv.models.speaker_model import SpeakerModel, without_branch
from espnet2_sv.packaging.redact import redact_settings
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict
from espnet2_sv.zoo.download import looks_like_a_path
from espnet2_sv.zoo.files import ModelFiles
from espnet2_sv.zoo.source import SpeakerSource

FORMATS = ("sv", "joint", "adaptor")
ASR_FOLDER = "asr"  # in the archive


@dataclass(frozen=True)
class PackedModel:
    """The part of an archive that depends on the model and the format.

    Attributes:
        settings: The speaker model's configuration.
        weights: Its weights.
        model: What loading both gives, in eval mode.
        package_format: One of :data:`FORMATS`.
        asr: The ASR model that an adaptor reads.
        asr_files: Files of the ASR model by their names in the archive.
        espnet_loads: Whether ESPnet's own ``Speech2Embedding`` loads configuration and
            weights, and gives the same embeddings.
    """

    settings: dict[str, Any]
    weights: Path
    model: SpeakerModel
    package_format: str = "sv"
    asr: AsrBundle | None = None
    asr_files: dict[str, Path] = field(default_factory=dict)
    espnet_loads: bool = False


def prepare_model(
    source: SpeakerSource, package_format: str | None, workdir: Path
) -> PackedModel:
    """Gather what goes into an archive, and load it for a check.

    Args:
        source: The trained model.
        package_format: One of :data:`FORMATS`, ``"sv"`` if None. For an adaptor
            ``"sv"`` and ``"joint"`` hold the ASR model; ``"adaptor"`` names it, and
            leaves out the training classes.
        workdir: An empty folder for files that are made.

    Raises:
        SVError: There is no such format for this model, or it would not load.
    """
    package_format = package_format or "sv"
    if package_format not in FORMATS:
        raise SVError(
            f"format {package_format!r} is unknown; choose {', '.join(FORMATS)}"
        )
    source.require_own("python -m espnet2.bin.pack spk packs it")
    if source.asr is not None:
        return _adaptor(source, source.asr, package_format, workdir)
    if package_format != "sv":
        raise SVError(
            f"{source.folder}: holds no adaptor; leave out the format and the ASR model"
        )
    settings = redact_settings(source.settings)
    weights = _weights_in_use(source.files.weights, workdir)
    model = _load_packed(settings, weights, source.task, workdir)
    network = espnet_equivalent(model)
    if network is None:
        return PackedModel(settings, weights, model)
    assert isinstance(model.head, PooledHead)
    settings = espnet_settings(settings, model.head)
    weights = _saved(network.state_dict(), workdir / "espnet.pth")
    model = _load_packed(settings, weights, source.task, workdir)
    return PackedModel(settings, weights, model, espnet_loads=True)


def asr_names(bundle: AsrBundle) -> dict[str, str]:
    """Return the ASR model's configuration and weights as meta.yaml names them."""
    return {
        bundle.task.config_key: f"{ASR_FOLDER}/{CONFIG}",
        bundle.task.weights_key: f"{ASR_FOLDER}/{WEIGHTS}",
    }


def _adaptor(
    source: SpeakerSource, asr: ModelFiles, package_format: str, workdir: Path
) -> PackedModel:
    bundle = load_asr_bundle(asr)
    weights = source.files.weights
    settings = redact_settings(source.settings)
    asr_files = {}
    if package_format == "adaptor":
        settings |= {"asr": _tag(source.settings), "loss": None, "loss_conf": {}}
        weights = _without(weights, "loss.", workdir)
    else:
        settings["asr"] = None  # it is in the package
        asr_files = _write_asr(bundle, workdir / ASR_FOLDER)
    with _load_check():
        model, _ = load_adaptor(bundle, _written(settings, weights, workdir))
    return PackedModel(
        settings, weights, model.eval(), package_format, bundle, asr_files
    )


def _load_packed(
    settings: dict[str, Any], weights: Path, task: str, workdir: Path
) -> SpeakerModel:
    with _load_check():
        files = _written(settings, weights, workdir)
        return load_speaker_model(SpeakerSource(files, task))[0]


@contextlib.contextmanager
def _load_check() -> Iterator[None]:
    try:
        yield
    except SVError as e:
        raise SVError(f"the packed model would not load: {e}") from e


def _written(settings: dict[str, Any], weights: Path, workdir: Path) -> ModelFiles:
    """Write the configuration as it is packed."""
    config = workdir / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return ModelFiles(config, weights, workdir, {})


def _tag(recorded: dict[str, Any]) -> str | None:
    """Return the ASR model's tag, by which anybody finds it, if training used one."""
    source = (recorded.get("asr_init") or {}).get("source") or ""
    if not source or looks_like_a_path(source) or Path(source).exists():
        return None
    return source


def _weights_in_use(weights: Path, workdir: Path) -> Path:
    """Leave out what only training needs: the branch of a distilled student."""
    state = load_state_dict(weights)
    used = without_branch(state)
    return weights if len(used) == len(state) else _saved(used, workdir / weights.name)


def _without(weights: Path, prefix: str, workdir: Path) -> Path:
    state = load_state_dict(weights)
    kept = {name: x for name, x in state.items() if not name.startswith(prefix)}
    return _saved(kept, workdir / weights.name)


def _saved(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def _write_asr(bundle: AsrBundle, folder: Path) -> dict[str, Path]:
    """Write the ASR model so that ESPnet finds its files in the unpacked archive."""
    folder.mkdir()
    write_model(bundle, folder, Path(ASR_FOLDER))
    config = folder / CONFIG
    redacted = redact_settings(load_config(config))
    config.write_text(yaml.safe_dump(redacted, allow_unicode=True), encoding="utf-8")
    return {f"{ASR_FOLDER}/{path.name}": path for path in sorted(folder.iterdir())}
