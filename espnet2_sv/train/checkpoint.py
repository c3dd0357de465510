"""Keep a checkpoint that is never half-written.

ESPnet's trainer overwrites ``checkpoint.pth`` in place, then writes the epoch's model and moves
its links: a process killed in between leaves files that disagree or cannot be read. Here the
checkpoint of the last epoch that ended well is set aside under another name while the next epoch
runs, and put back when a run starts: a kill costs the epoch under way, nothing more. In the first
epoch there is none yet, which an empty file under that name says.
"""

import os
from pathlib import Path

CHECKPOINT = "checkpoint.pth"
SAFE_CHECKPOINT = "checkpoint.safe.pth"


def set_aside(output_dir: Path) -> None:
    """Protect the finished epoch's checkpoint while the next epoch runs."""
    if (output_dir / CHECKPOINT).exists():
        os.replace(output_dir / CHECKPOINT, output_dir / SAFE_CHECKPOINT)
    elif not (output_dir / SAFE_CHECKPOINT).exists():
        (output_dir / SAFE_CHECKPOINT).touch()


def put_back(output_dir: Path) -> None:
    """Make the checkpoint of the last epoch that ended well the one to resume from."""
    if _first_epoch_was_cut(output_dir):
        (output_dir / CHECKPOINT).unlink(missing_ok=True)  # of nobody knows how much of it
        (output_dir / SAFE_CHECKPOINT).unlink()
    elif (output_dir / SAFE_CHECKPOINT).exists():
        os.replace(output_dir / SAFE_CHECKPOINT, output_dir / CHECKPOINT)


def forget(output_dir: Path) -> None:
    """Drop the protected copy once the whole run has ended well."""
    (output_dir / SAFE_CHECKPOINT).unlink(missing_ok=True)


def has_checkpoint(output_dir: str | os.PathLike) -> bool:
    """Tell whether a run in ``output_dir`` can be resumed."""
    folder = Path(output_dir)
    there = any((folder / name).exists() for name in (CHECKPOINT, SAFE_CHECKPOINT))
    return there and not _first_epoch_was_cut(folder)


def _first_epoch_was_cut(folder: Path) -> bool:
    safe = folder / SAFE_CHECKPOINT
    return safe.exists() and safe.stat().st_size == 0
