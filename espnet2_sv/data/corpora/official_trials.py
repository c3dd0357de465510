"""VoxCeleb1's published trial lists: O (original), E (extended) and H (hard)."""

import logging
import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

# the authors' page, and its mirror at the other university; either has all lists
SITES = (
    "https://mm.kaist.ac.kr/datasets/voxceleb/meta/",
    "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/",
)
_TIMEOUT = 30  # seconds to wait for a site
_LABELS = {"1": "target", "0": "nontarget"}


class OfficialList(NamedTuple):
    """A published list: its file's name and number of lines."""

    file: str
    lines: int


CLEANED = {
    "o": OfficialList("veri_test2.txt", 37_611),
    "e": OfficialList("list_test_all2.txt", 579_818),
    "h": OfficialList("list_test_hard2.txt", 550_894),
}
UNCLEANED = {
    "o": OfficialList("veri_test.txt", 37_720),
    "e": OfficialList("list_test_all.txt", 581_480),
    "h": OfficialList("list_test_hard.txt", 552_536),
}


class Trial(NamedTuple):
    """A pair of utterances, and ``target`` or ``nontarget``."""

    enroll: str
    test: str
    label: str


def choose_lists(kinds: Sequence[str], cleaned: bool = True) -> dict[str, OfficialList]:
    """Look up lists by ``o``, ``e`` and ``h``; another name is an SVError."""
    known = CLEANED if cleaned else UNCLEANED
    for kind in kinds:
        if kind not in known:
            raise SVError(f"trial list {kind}: choose of {' '.join(known)}")
    return {kind: known[kind] for kind in kinds}


def fetch_list(
    wanted: OfficialList, folder: Path, sites: Sequence[str] = SITES
) -> Path:
    """Fetch a list from the first site that answers, unless it is in ``folder`` already.

    Raises:
        SVError: No site can be reached, or what came has not the published number of
            lines.
    """
    path = folder / wanted.file
    if path.exists():
        return path
    reasons = []
    for site in sites:
        try:
            with urllib.request.urlopen(site + wanted.file, timeout=_TIMEOUT) as answer:
                text = answer.read()
        except (OSError, HTTPException) as e:
            reasons.append(f"{site}: {getattr(e, 'reason', e)}")
            continue
        if (lines := text.count(b"\n") + (not text.endswith(b"\n"))) != wanted.lines:
            reasons.append(f"{site}: gave {lines} lines, not {wanted.lines}")
            continue
        with atomic_write(path, "wb") as f:
            f.write(text)
        logging.info(f"{path}: fetched from {site}")
        return path
    raise SVError(
        f"{path}: cannot be fetched ({'; '.join(reasons)}); put the list into a folder"
        " and name that with --trial_lists"
    )


def read_list(path: str | os.PathLike) -> list[Trial]:
    """Read a published list.

    A line is ``1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav`` (1: one
    speaker).

    Returns:
        Trials with this project's utterance ids, in the order of the lines.

    Raises:
        SVError: The file is missing or empty, or a line is of another form or
            contradicts itself.
    """
    trials = []
    try:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                try:
                    label, enroll, test = line.split()
                    trials.append(
                        Trial(_utterance(enroll), _utterance(test), _LABELS[label])
                    )
                except (ValueError, KeyError):
                    raise SVError(
                        f"{path}: line {number} is not '1 idXXXXX/VIDEO/00001.wav "
                        "idXXXXX/VIDEO/00002.wav'; fetch the list again"
                    ) from None
                if (enroll.split("/")[0] == test.split("/")[0]) != (label == "1"):
                    raise SVError(
                        f"{path}: line {number} has the wrong label; fetch it again"
                    )
    except (OSError, UnicodeDecodeError) as e:
        raise SVError(
            f"{path}: cannot be read ({e}); name its folder with --trial_lists"
        ) from e
    if not trials:
        raise SVError(f"{path}: is empty; fetch it again")
    return trials


def _utterance(file: str) -> str:
    """``id10270/x6uYqmx31kE/00001.wav`` is ``id10270-x6uYqmx31kE-00001``."""
    speaker, video, recording = file.split("/")
    stem, dot, _ = recording.rpartition(".")
    if not dot:
        raise ValueError(file)
    return f"{speaker}-{video}-{stem}"
