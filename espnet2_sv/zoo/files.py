"""Finding the files of a packed or trained model from any kind of source."""

import hashlib
import logging
import os
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError
from espnet2_sv.zoo.checkpoint import load_config
from espnet2_sv.zoo.download import download
from espnet2_sv.zoo.unpacking import is_inside, unpack

# Keys of configuration and weights in the meta.yaml that ESPnet's pack writes. ESPnet
# passes everything under "yaml_files" and "files" to the class that loads the model, so
# a second model in the same archive is listed under OWN_SECTION.
OWN_SECTION = "espnet2_sv"
_META_KEYS = {
    "asr": (
        ("asr_train_config", "asr_model_file"),
        ("s2t_train_config", "s2t_model_file"),  # OWSM
    ),
    "sv": (("train_config", "model_file"),),
}
# Weights in the exp/ directory of a training run, in order of preference: averaged
# ones first, and accuracy (or equal error rate) before other criteria.
WEIGHTS_IN_EXP = {
    "asr": (
        "valid.acc.ave.pth",
        "valid.acc.best.pth",
        "valid.*.ave.pth",
        "valid.*.ave_*best.pth",
        "valid.*.ave_*best.till*epoch.pth",
        "valid.*.best.pth",
        "latest.pth",
    ),
    # the last one is what sv_resolve writes
    "sv": ("valid.eer.ave.pth", "valid.eer.best.pth", "latest.pth", "model.pth"),
}


@dataclass(frozen=True)
class ModelFiles:
    """Files of a model on disk.

    Attributes:
        config: Training configuration.
        weights: Weights.
        root: Directory that relative paths in the configuration start from.
        meta: Contents of ``meta.yaml``; empty for the ``exp/`` directory of a training
            run.
        name: The source as the user gave it, for messages.
    """

    config: Path
    weights: Path
    root: Path
    meta: dict[str, Any]
    name: str = ""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Contents of the configuration, read once."""
        return load_config(self.config)

    def fingerprint(self) -> list[str]:
        """Return the hashes of configuration and weights."""
        return [file_sha256(self.config), file_sha256(self.weights)]

    @property
    def packed(self) -> bool:
        """Whether this is a package; its paths must stay inside :attr:`root`."""
        return bool(self.meta)


def find_model_files(
    source: str | os.PathLike, kinds: str, workdir: str | os.PathLike | None = None
) -> ModelFiles:
    """Find a model's files.

    Args:
        source: A model-zoo or Hub tag, a packed ``.zip``, an unpacked directory with
            ``meta.yaml``, or the ``exp/`` directory of a training run.
        kinds: ``"asr"`` or ``"sv"``.
        workdir: Where to unpack an archive; by default a directory in the user's cache
            that is named after the archive's hash, so that it is unpacked once.

    Raises:
        SVError: There is no such model, or it is damaged, or not of this kind.
    """
    path = Path(os.path.expanduser(source))
    if not os.path.exists(path):  # also of names that no file can have
        path = download(str(source))
    if path.is_file():
        path = _unpack_once(path, workdir)
    if (path / "meta.yaml").is_file():
        return replace(_packed(path, kinds), name=str(source))
    if (path / "config.yaml").is_file():
        return replace(_trained(path, kinds), name=str(source))
    raise SVError(
        f"{source}: holds neither meta.yaml (a packed model) nor config.yaml (exp/)"
    )


def find_package(config: str | os.PathLike) -> Path | None:
    """Return the root of the package that a speaker model's config is in, if any."""
    # not resolved: Hub snapshots link to their blobs
    config = Path(os.path.abspath(config))
    # written beside config.yaml by the downloader of ESPnet's model zoo
    config = config.with_name(config.name.replace(".resolved.yaml", ".yaml"))
    for folder in config.parents:
        if (folder / "meta.yaml").is_file() and holds_kind(folder, "sv"):
            packed = _packed(folder, "sv").config
            return folder if config.exists() and packed.samefile(config) else None
    return None


def holds_kind(package: Path, kinds: str) -> bool:
    """Whether a package's ``meta.yaml`` names a model of a kind."""
    meta = load_config(package / "meta.yaml")
    sections = (meta.get("yaml_files"), meta.get(OWN_SECTION))
    keys = {config for config, _ in _META_KEYS[kinds]}
    return any(isinstance(s, dict) and keys & s.keys() for s in sections)


def _unpack_once(archive: Path, workdir: str | os.PathLike | None) -> Path:
    outdir = (
        Path(workdir) if workdir is not None else cache_folder() / file_sha256(archive)
    )
    if (outdir / "meta.yaml").is_file() and workdir is None:
        return outdir
    logging.info("unpacking %s to %s", archive, outdir)
    try:
        unpack(archive, outdir)
    except SVError as e:
        if workdir is None and (outdir / "meta.yaml").is_file():
            return outdir  # another process was quicker
        if workdir is None and "cannot be written" in str(e):
            raise SVError(f"{e}; XDG_CACHE_HOME names the folder of the cache") from e
        raise
    if not (outdir / "meta.yaml").is_file():
        shutil.rmtree(outdir, ignore_errors=True)
        raise SVError(
            f"{archive}: holds no meta.yaml, so it was not made by ESPnet's pack"
        )
    return outdir


def cache_folder() -> Path:
    """Return the user's cache of unpacked models."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "espnet2_sv" / "models"


def file_sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        SVError: The file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as e:
        raise SVError(f"{path}: cannot be read ({e.strerror})") from e


def _packed(root: Path, kinds: str) -> ModelFiles:
    meta = load_config(root / "meta.yaml")
    own = meta.get(OWN_SECTION)
    configs, weights_of = (meta.get("yaml_files"), own), (meta.get("files"), own)
    named = [names for names in configs if isinstance(names, dict)]
    config_key, weights_key = next(
        (keys for keys in _META_KEYS[kinds] if any(keys[0] in n for n in named)),
        _META_KEYS[kinds][0],
    )
    config = _named(root, configs, config_key)
    weights = _named(root, weights_of, weights_key)
    return ModelFiles(config=config, weights=weights, root=root, meta=meta)


def _named(root: Path, sections: tuple[Any, ...], key: str) -> Path:
    found = [
        names[key] for names in sections if isinstance(names, dict) and key in names
    ]
    name = found[0] if found else None
    if not isinstance(name, str):
        raise SVError(
            f"{root / 'meta.yaml'}: has no {key}, so this is another kind of model"
        )
    # ESPnet's packing records absolute paths of files outside the current folder, for
    # example where exp is a link; members of the archive have them without the slash
    name = name.lstrip("/")
    if not is_inside(name) or not stays(root / name, root):
        raise SVError(
            f"{root / 'meta.yaml'}: refused, {key} leads out of the folder: {name!r}"
        )
    if not (root / name).is_file():
        raise SVError(f"{root / 'meta.yaml'}: {key} names a missing file, {name!r}")
    return root / name


def stays(path: Path, root: Path) -> bool:
    """Whether a path is in ``root`` once links are followed.

    Snapshots of the Hub link to their own blobs, which counts as inside.
    """
    homes = [root.resolve()]
    # .../models--org--name/snapshots/REVISION
    if root.resolve().parent.name == "snapshots":
        homes.append(root.resolve().parent.parent / "blobs")
    return any(path.resolve().is_relative_to(home) for home in homes)


def _trained(exp: Path, kinds: str) -> ModelFiles:
    for pattern in WEIGHTS_IN_EXP[kinds]:
        found = sorted(path for path in exp.glob(pattern) if path.is_file())
        if found:
            return ModelFiles(exp / "config.yaml", found[0], exp, {})
    wanted = ", ".join(WEIGHTS_IN_EXP[kinds])
    raise SVError(f"{exp}: has no weights yet (looked for {wanted})")


def locate(files: ModelFiles, key: str, value: str) -> Path | None:
    """Find a file that the configuration names.

    In a package, paths start at its root and nothing outside is ever used. If the path
    was recorded elsewhere, as in training, its longest suffix that exists in the
    package is taken. In the ``exp/`` directory of a training run, paths start at the
    current directory, at ``exp/`` or at one of the directories above it.

    Args:
        files: The model.
        key: The setting's name, for messages.
        value: The path as written.

    Returns:
        The path, or None if there is no such file.

    Raises:
        SVError: In a package, the path leads out of the folder by ``..``.
    """
    path = Path(value)
    if not files.packed:
        starts = [Path(), files.root, *files.root.resolve().parents]
        return next((s / path for s in starts if os.path.isfile(s / path)), None)
    if ".." in path.parts:
        raise SVError(
            f"{files.config}: refused, {key} leads out of the folder: {value!r}"
        )
    parts = [part for part in path.parts if part != path.anchor]
    for start in range(len(parts)):
        inside = files.root.joinpath(*parts[start:])
        if os.path.isfile(inside) and not _links_out(inside, files):
            return inside
    return None


def _links_out(path: Path, files: ModelFiles) -> bool:
    return os.path.islink(path) and not stays(path, files.root)
