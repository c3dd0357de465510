"""Putting a model into a folder once, however it is named."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import fresh_folder, locked
from espnet2_sv.zoo.files import file_sha256, find_model_files

# Where a resolved model came from; it appears together with the rest, so it means
# "complete"
RECORD = "source.json"
RECORD_KEYS = ("source", "sha256", "summary")
# Fills the folder; returns the summary, and a hash of the model
Fill = Callable[[Path], tuple[dict[str, Any], str]]


def resolve_once(
    source: str | os.PathLike, kind: str, outdir: Path, fill: Fill
) -> dict[str, Any]:
    """Fill a folder with a model, unless it holds this model already.

    What this function put there earlier is replaced if it is another model.

    Args:
        source: The model, from any source.
        kind: ``"asr"`` or ``"sv"``.
        outdir: The folder to make.
        fill: Called with an empty folder, which then becomes ``outdir``.

    Returns:
        The summary that ``fill`` returned, now or earlier.

    Raises:
        SVError: The model cannot be used, or ``outdir`` holds something else.
    """
    name = str(source)
    content = _content_sha256(name, kind)
    record = read_record(outdir)
    if record is not None and _is_of(record, name, content):
        return record["summary"]
    with locked(outdir):
        record = read_record(outdir)
        if record is not None and _is_of(record, name, content):
            return record["summary"]  # another process has just done it
        occupied = outdir.exists() and (not outdir.is_dir() or any(outdir.iterdir()))
        if record is None and occupied:
            raise SVError(f"{outdir}: holds something else; choose another folder")
        with fresh_folder(outdir, replace=record is not None) as part:
            summary, sha256 = fill(part)
            record = {"source": name, "sha256": content or sha256, "summary": summary}
            (part / RECORD).write_text(
                json.dumps(record, indent=1) + "\n", encoding="utf-8"
            )
    logging.info("%s is now in %s", name, outdir)
    return summary


def read_record(outdir: Path) -> dict[str, Any] | None:
    """Return source, hash and summary of a resolved model; None if it is none."""
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((outdir / RECORD).read_text(encoding="utf-8"))
        if isinstance(record, dict) and record.keys() >= {*RECORD_KEYS}:
            return record
    return None


def _is_of(record: dict[str, Any], name: str, content: str | None) -> bool:
    return record["source"] == name if content is None else record["sha256"] == content


def _content_sha256(source: str, kind: str) -> str | None:
    """Return a hash of a local source's contents; None for a tag."""
    path = Path(os.path.expanduser(source))
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        return None
    files = find_model_files(path, kind)
    return hashlib.sha256("".join(files.fingerprint()).encode()).hexdigest()
