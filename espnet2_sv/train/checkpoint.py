"""Keep a complete checkpoint at all times.

ESPnet's trainer overwrites ``checkpoint.pth`` in place, and then writes the epoch's
model and updates its links. A process killed in between leaves files that are
incomplete or inconsistent. Here, the checkpoint of the last completed epoch is renamed
while the next epoch runs, and renamed back when a run starts, so that at most the
current epoch is lost. During the first epoch, a marker file stands in for the
checkpoint, because whatever that epoch leaves behind may be incomplete, too.
"""

import os
from pathlib import Path

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
    """Restore the checkpoint of the last completed epoch, to resume from it."""
    if (output_dir / SAFE_CHECKPOINT).exists():
        os.replace(output_dir / SAFE_CHECKPOINT, output_dir / CHECKPOINT)
    elif (output_dir / FIRST_EPOCH).exists():
        (output_dir / CHECKPOINT).unlink(missing_ok=True)
    (output_dir / FIRST_EPOCH).unlink(missing_ok=True)


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
