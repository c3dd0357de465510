"""VoxCeleb1's published trial lists: O (original), E (extended) and H (hard)."""

import logging
import os
import urllib.request
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from espnet2_sv.data.corpora.corpus import name_some
from espnet2_sv.data.corpora.data_dirs import Trial
from espnet2_sv.data.corpora.voxceleb.plan import Plan
from espnet2_sv.data.corpora.voxceleb.splits import VOXCELEB1_DEV, VOXCELEB1_TEST, Split
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.textfile import read_text

# the authors' page and its mirror; both have all lists
SITES = (
    "https://mm.kaist.ac.kr/datasets/voxceleb/meta/",
    "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/",
)
_TIMEOUT = 30  # seconds
_LABELS = {"1": "target", "0": "nontarget"}
_SPLITS = {
    "o": (VOXCELEB1_TEST,),
    "e": (VOXCELEB1_DEV, VOXCELEB1_TEST),
    "h": (VOXCELEB1_DEV, VOXCELEB1_TEST),
}


class OfficialList(NamedTuple):
    """A published list: file name and number of lines."""

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


def choose_lists(kinds: Sequence[str], cleaned: bool = True) -> dict[str, OfficialList]:
    """Look up lists by ``o``, ``e`` and ``h``; SVError for other names."""
    known = CLEANED if cleaned else UNCLEANED
    for kind in kinds:
        if kind not in known:
            raise SVError(f"trial list {kind}: choose from {' '.join(known)}")
    return {kind: known[kind] for kind in kinds}


def fetch_list(
    wanted: OfficialList, folder: Path, sites: Sequence[str] = SITES
) -> Path:
    """Download a list from the first site that answers, unless it is in ``folder``.

    Raises:
        SVError: No site can be reached, or the list does not have the published number
            of lines.
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
            reasons.append(f"{site}: returned {lines} lines, not {wanted.lines}")
            continue
        with atomic_write(path, "wb") as f:
            f.write(text)
        logging.info(f"{path}: fetched from {site}")
        return path
    raise SVError(
        f"{path}: cannot be fetched ({'; '.join(reasons)}); put the list into a folder"
        " and set --trial_lists"
    )


def read_list(path: str | os.PathLike) -> list[Trial]:
    """Read a published list.

    A line is ``1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav``; 1 means
    target.

    Returns:
        Trials with Kaldi utterance ids, in the order of the lines.

    Raises:
        SVError: The file is missing or empty, or a line is malformed or has a label
            that contradicts its speakers.
    """
    try:
        text = read_text(path)
    except SVError as e:
        raise SVError(f"{e}; set --trial_lists to its folder") from e
    trials = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            label, enroll, test = line.split()
            trials.append(Trial(_utterance(enroll), _utterance(test), _LABELS[label]))
        except (ValueError, KeyError):
            raise SVError(
                f"{path}: line {number} is not '1 idXXXXX/VIDEO/00001.wav "
                "idXXXXX/VIDEO/00002.wav'; fetch the list again"
            ) from None
        if (enroll.split("/")[0] == test.split("/")[0]) != (label == "1"):
            raise SVError(f"{path}: line {number} has the wrong label; fetch it again")
    if not trials:
        raise SVError(f"{path}: is empty; fetch it again")
    return trials


def _utterance(file: str) -> str:
    """Turn ``id10270/x6uYqmx31kE/00001.wav`` into ``id10270-x6uYqmx31kE-00001``."""
    speaker, video, recording = file.split("/")
    stem, dot, _ = recording.rpartition(".")
    if not dot:
        raise ValueError(file)
    return f"{speaker}-{video}-{stem}"


@dataclass(frozen=True)
class TestSet:
    """A published trial list and the splits that contain its recordings.

    Attributes:
        name: Name of its data directory, e.g. ``voxceleb1_o``.
        path: Path of the published list.
        trials: Trials in the order of the list.
        splits: Splits with its recordings.
        differences: One line for each difference from the published list.
    """

    __test__ = False  # not a test case of pytest

    name: str
    path: Path
    trials: list[Trial]
    splits: tuple[Split, ...]
    differences: list[str]

    def require_apart(self, speakers: Collection[str], where: str) -> None:
        """Require that no test speaker is trained on.

        Args:
            speakers: Training speakers.
            where: Name of the training set, for the message.

        Raises:
            SVError: Speakers overlap; names the first few.
        """
        tested = {utt.split("-", 1)[0] for trial in self.trials for utt in trial[:2]}
        if shared := tested.intersection(speakers):
            raise SVError(
                f"{self.name}: {len(shared):,} of its {len(tested):,} speakers are also"
                f" in {where}: {name_some(shared)}; speaker overlap inflates results,"
                " remove it from --test_lists (o does not overlap with VoxCeleb1 dev)"
            )


def read_test_sets(plan: Plan) -> list[TestSet]:
    """Read the test lists of a plan; download them if it names no folder.

    Raises:
        SVError: A list is unknown, cannot be downloaded, or is malformed.
    """
    sets = []
    for kind, wanted in choose_lists(plan.test_lists, plan.cleaned).items():
        if plan.trial_lists:
            path = Path(plan.trial_lists) / wanted.file
        else:
            path = fetch_list(wanted, Path(plan.unpack_dir) / "trial_lists")
        trials, differences = read_list(path), []
        if len(trials) != wanted.lines:
            differences.append(
                f"{path}: {len(trials):,} lines of {wanted.lines:,} published"
            )
        sets.append(
            TestSet(f"voxceleb1_{kind}", path, trials, _SPLITS[kind], differences)
        )
    return sets
