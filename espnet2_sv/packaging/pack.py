"""Packing a trained speaker model as an ESPnet model-zoo archive."""

import contextlib
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import torch
import yaml

import espnet2
from espnet2_sv import __version__
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.decision import (
    CALIBRATION_FILE,
    THRESHOLD_FILE,
    ScoreDecision,
    read_threshold,
)
from espnet2_sv.packaging.card_data import (
    CardDetails,
    check_card,
    eval_results,
    measured_metrics,
)
from espnet2_sv.packaging.formats import PackedModel, asr_names, prepare_model
from espnet2_sv.packaging.model_card import model_card
from espnet2_sv.scoring.calibration import Calibration
from espnet2_sv.textfile import read_text
from espnet2_sv.zoo.files import OWN_SECTION, find_model_files
from espnet2_sv.zoo.source import SpeakerSource

# Files of the exp directory that are packed if they exist
COMPANIONS = ("spk2id", "RESULTS.md", CALIBRATION_FILE, THRESHOLD_FILE, "images/*.png")
CARD = "README.md"  # of the archive, as the Hub shows it
Contents = dict[str, Path | bytes]


def pack_model(
    exp: str | Path,
    output: str | Path,
    *,
    model_file: str | Path | None = None,
    calibration: str | Path | None = None,
    options: Iterable[str | Path] = (),
    package_format: str | None = None,
    asr: str | Path | None = None,
    details: CardDetails | None = None,
) -> list[str]:
    """Make an archive that ``Speech2Embedding.from_pretrained`` loads anywhere.

    It holds ``meta.yaml``, a model card ``README.md`` and, in ``exp/NAME``, the config
    without paths of this machine, the weights, and :data:`COMPANIONS`. Config and
    weights are loaded once as a check. A model that ESPnet's own speaker classes
    compute alike is packed for them, too.

    A speaker adaptor is packed together with the ASR model that it reads, in ``asr``;
    such an archive is a source of both. With ``"joint"``, ESPnet's own
    ``Speech2Text.from_pretrained`` loads the ASR model, too.

    Args:
        exp: Directory of the training run.
        output: The zip to write.
        model_file: Weights other than the best of the run.
        calibration: A calibration that is not in ``exp``; it is packed as
            ``calibration.json``.
        options: Further files or directories, packed under their own names.
        package_format: ``"sv"``, the default. For adaptors also ``"joint"``, or
            ``"adaptor"`` for the adaptor alone, without its training classes; the ASR
            model then has to be given in use.
        asr: The ASR model that an adaptor reads, if it is not where training had it.
        details: What the model card says beyond the configuration and the results.

    Returns:
        The names in the archive.

    Raises:
        SVError: Something is missing, or the packed model would not load.
    """
    exp, output = Path(exp), Path(output)
    if not exp.is_dir():
        raise SVError(
            f"{exp}: no such directory; give the exp directory of a training run"
        )
    if output.suffix != ".zip":
        raise SVError(f"{output}: the name of the archive must end in .zip")
    source = SpeakerSource.resolve(exp, model_file, asr)
    with tempfile.TemporaryDirectory() as workdir:
        packed = prepare_model(source, package_format, Path(workdir))
        contents = _contents(exp, source, packed, calibration, options, details)
        _write_zip(output, contents)
    return list(contents)


def _contents(
    exp: Path,
    source: SpeakerSource,
    packed: PackedModel,
    calibration: str | Path | None,
    options: Iterable[str | Path],
    details: CardDetails | None,
) -> Contents:
    """Gather all files by their names in the archive."""
    folder = PurePosixPath("exp", exp.resolve().name)
    names = {
        "train_config": f"{folder}/config.yaml",
        "model_file": f"{folder}/{source.files.weights.name}",
    }
    asr = asr_names(packed.asr) if packed.asr and packed.asr_files else {}
    contents: Contents = {
        "meta.yaml": _meta(names, asr, packed),
        names["train_config"]: (
            yaml.safe_dump(packed.settings, allow_unicode=True).encode()
        ),
        names["model_file"]: packed.weights,
        **packed.asr_files,
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
    card = _file(contents, CARD)
    if card is not None:
        check_card(read_text(card), str(card))
    else:
        metrics = details.metrics if details else ()
        if not metrics and _are_the_best(source.files.weights, exp):
            metrics = measured_metrics(exp)
        contents[CARD] = model_card(
            folder.name,
            packed,
            _results(contents),
            calibrated,
            details,
            eval_results(metrics),
        ).encode()
    return contents


def _are_the_best(weights: Path, exp: Path) -> bool:
    """Whether weights are those that a training run is evaluated with by default."""
    with contextlib.suppress(SVError):
        return weights.samefile(find_model_files(exp, "sv").weights)
    return False


def _check_decision_files(contents: Contents, folder: PurePosixPath) -> bool:
    """Check calibration and threshold; return whether there is a calibration."""
    calibration = _file(contents, f"{folder}/{CALIBRATION_FILE}")
    threshold = _file(contents, f"{folder}/{THRESHOLD_FILE}")
    if threshold is not None:
        read_threshold(threshold)
    if calibration is not None:
        ScoreDecision(Calibration.load(calibration))
    return calibration is not None


def _meta(names: dict[str, str], asr: dict[str, str], packed: PackedModel) -> bytes:
    """Return meta.yaml as ESPnet writes it, with a section of our own.

    Every entry of ESPnet's section becomes an argument of the class that loads the
    model. A model that ESPnet's ``Speech2Embedding`` would not compute alike has one
    more, so that this class refuses it by a message that names this package.

    Args:
        names: Configuration and weights of the speaker model.
        asr: Those of the ASR model in the package, if any.
        packed: The model. With ``"joint"``, ESPnet's section names the ASR model and
            ours the speaker model; otherwise it is the other way round.
    """
    joint = packed.package_format == "joint"
    shown, own = (asr, names) if joint else (names, asr)
    config, weights = shown.items()
    refused = {} if joint or packed.espnet_loads else {OWN_SECTION: CARD}
    meta = {
        "files": dict([weights]) | refused,
        "yaml_files": dict([config]),
        "timestamp": time.time(),
        "python": sys.version,
        "torch": str(torch.__version__),
        "espnet": espnet2.__version__,
        OWN_SECTION: {"version": __version__, **own},
    }
    return yaml.safe_dump(meta).encode()


def _named_files(option: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, file) of a file or of all files in a directory."""
    if option.is_dir():
        for path in sorted(option.rglob("*")):
            if path.is_file():
                name = path.relative_to(option).as_posix()
                yield f"{option.resolve().name}/{name}", path
    else:
        yield option.name, option


def _results(contents: Contents) -> str | None:
    """Return the text of the topmost RESULTS.md in the archive, if there is one."""
    names = [name for name in contents if PurePosixPath(name).name == "RESULTS.md"]
    path = _file(contents, min(names, key=len)) if names else None
    return path.read_text(encoding="utf-8") if path else None


def _file(contents: Contents, name: str) -> Path | None:
    """Return the file that is packed under a name; None if there is none."""
    content = contents.get(name)
    return content if isinstance(content, Path) else None


def _write_zip(output: Path, contents: Contents) -> None:
    """Write an archive without compression, as weights hardly compress."""
    with (
        atomic_write(output, "wb") as stream,
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
