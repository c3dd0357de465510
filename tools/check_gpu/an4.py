"""The real speech of egs2/mini_an4, from the espnet wheel."""

import functools
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

from check_gpu.networks import EGS
from check_gpu.results import Context, Failed

PREPARE = EGS / "mini_an4/sv1/local/prepare_data.py"


def an4_data(context: Context) -> Path:
    """Return data directories: train, valid and test of segments, asr_train of wholes.

    Raises:
        Failed: This ESPnet installation has no AN4.
    """
    spec = find_spec("egs3")
    roots = list(spec.submodule_search_locations or []) if spec else []
    archives = [Path(r, "mini_an4/esp2_asr/downloads.tar.gz") for r in roots]
    archive = next((path for path in archives if path.exists()), None)
    if archive is None:
        raise Failed("this ESPnet has no egs3/mini_an4/esp2_asr/downloads.tar.gz")
    downloads = context.folder("downloads", functools.partial(unpack, archive))
    folder = context.workdir / "data"  # wav.scp has absolute paths
    if not (folder / "rirs.scp").exists():
        command = [sys.executable, str(PREPARE), str(downloads / "downloads")]
        subprocess.run([*command, str(folder)], check=True)
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """Unpack speech, noises and room impulse responses."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
