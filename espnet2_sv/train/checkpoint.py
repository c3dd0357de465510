"""Keep a complete checkpoint at all times.

ESPnet's trainer overwrites ``checkpoint.pth`` in place, and then writes the epoch's
model and updates its links. A process killed in between leaves files that are
incomplete or inconsistent. Here, the checkpoint of the last completed epoch is renamed
while the next epoch runs, and renamed back when a run starts, so that at most the
current epoch is lost. During the first epoch, a marker file stands in for the
checkpoint, because whatever that epoch leaves behind may be incomplete, too.
"""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from espnet2_sv.errors import SVError

CHECKPOINT = "checkpoint.pth"
SAFE_CHECKPOINT = "checkpoint.safe.pth"
FIRST_EPOCH = "checkpoint.first_epoch"  # exists until the first epoch is complete


def stash(output_dir: Path) -> None:
    """Rename the checkpoint of the completed epoch before the next epoch starts."""
    if (output_dir / CHECKPOINT).exists():
        os.replace(output_dir / CHECKPOINT, output_dir / SAFE_CHECKPOINT)
        (output_dir / FIRST_EPOCH).unlink(missing_ok=True)
    elif not (output_dir / SAFE_CHECKPOINT).exists():
        (output_dir / FIRST_EPOCH).touch()


def restore(output_dir: Path) -> None:
    """Restore the checkpoint of the last completed epoch, to resume from it.

    Raises:
        SVError: The checkpoint is damaged.
    """
    for name in (SAFE_CHECKPOINT, CHECKPOINT):
        if name == CHECKPOINT and (output_dir / FIRST_EPOCH).exists():
            break  # nothing to resume
        if (output_dir / name).exists():
            _check_complete(output_dir / name)
            break
    if (output_dir / SAFE_CHECKPOINT).exists():
        os.replace(output_dir / SAFE_CHECKPOINT, output_dir / CHECKPOINT)
    elif (output_dir / FIRST_EPOCH).exists():
        (output_dir / CHECKPOINT).unlink(missing_ok=True)
    (output_dir / FIRST_EPOCH).unlink(missing_ok=True)


def _check_complete(path: Path) -> None:
    """Check that a checkpoint, which is a zip file, is as it was written.

    Raises:
        SVError: It is not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except MemoryError:
        raise
    except Exception:  # zipfile raises all kinds of errors on damaged files
        damaged = True
    if damaged:
        raise SVError(
            f"{path}: is cut off or damaged, so this training cannot be resumed; put"
            " back a copy, or delete the file to start over"
        )


def discard(output_dir: Path) -> None:
    """Remove the renamed checkpoint when the whole run is complete."""
    (output_dir / SAFE_CHECKPOINT).unlink(missing_ok=True)
    (output_dir / FIRST_EPOCH).unlink(missing_ok=True)


def has_checkpoint(output_dir: str | os.PathLike) -> bool:
    """Whether there is a run to resume in ``output_dir``."""
    folder = Path(output_dir)
    if (folder / SAFE_CHECKPOINT).exists():
        return True
    return (folder / CHECKPOINT).exists() and not (folder / FIRST_EPOCH).exists()


def read_epochs(output_dir: str | os.PathLike) -> dict[int, dict[str, dict[str, Any]]]:
    """Read the statistics of ESPnet's reporter from the last completed epoch.

    Args:
        output_dir: Folder of the training.

    Returns:
        By epoch, by phase (``train`` or ``valid``), by name, e.g. ``eer`` in percent.

    Raises:
        SVError: There is no checkpoint.pth, or it has no such statistics.
    """
    path = Path(output_dir, CHECKPOINT)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return state["reporter"]["stats"]
    except OSError as e:
        raise SVError(f"{path}: cannot be read; train the model first") from e
    except (KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as e:
        raise SVError(
            f"{path}: has no statistics of ESPnet's reporter; it is of another training"
        ) from e
