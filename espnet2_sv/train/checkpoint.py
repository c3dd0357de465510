"""Keep a checkpoint that is never half-written.

ESPnet's trainer overwrites ``checkpoint.pth`` in place, then writes the epoch's model
and moves its links: a process killed in between leaves files that disagree or cannot be
    read. Here the
checkpoint of the last epoch that ended well is set aside under another name while the
next epoch runs, and put back when a run starts: a kill costs the epoch under way,
    nothing more. In the first
epoch there is none yet; a file says so, because what such an epoch leaves may be
half-written, too.
"""

import os
from pathlib import Path

CHECKPOINT = "checkpoint.pth"
SAFE_CHECKPOINT = "checkpoint.safe.pth"
FIRST_EPOCH = "checkpoint.first_epoch"  # is there while no epoch has ended well


def stash(output_dir: Path) -> None:
    """Protect the finished epoch's checkpoint while the next epoch runs."""
    if (output_dir / CHECKPOINT).exists():
        os.replace(output_dir / CHECKPOINT, output_dir / SAFE_CHECKPOINT)
        (output_dir / FIRST_EPOCH).unlink(missing_ok=True)
    elif not (output_dir / SAFE_CHECKPOINT).exists():
        (output_dir / FIRST_EPOCH).touch()


def restore(output_dir: Path) -> None:
    """Make the checkpoint of the last epoch that ended well the one to resume from."""
    if (output_dir / SAFE_CHECKPOINT).exists():
        os.replace(output_dir / SAFE_CHECKPOINT, output_dir / CHECKPOINT)
    elif (output_dir / FIRST_EPOCH).exists():
        (output_dir / CHECKPOINT).unlink(missing_ok=True)
    (output_dir / FIRST_EPOCH).unlink(missing_ok=True)


def discard(output_dir: Path) -> None:
    """Drop the protected copy once the whole run has ended well."""
    (output_dir / SAFE_CHECKPOINT).unlink(missing_ok=True)
    (output_dir / FIRST_EPOCH).unlink(missing_ok=True)


def has_checkpoint(output_dir: str | os.PathLike) -> bool:
    """Tell whether a run in ``output_dir`` can be resumed."""
    folder = Path(output_dir)
    if (folder / SAFE_CHECKPOINT).exists():
        return True
    return (folder / CHECKPOINT).exists() and not (folder / FIRST_EPOCH).exists()
