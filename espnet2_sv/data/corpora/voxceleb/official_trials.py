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


_SPLITS = {
    "o": (VOXCELEB1_TEST,),
    "e": (VOXCELEB1_DEV, VOXCELEB1_TEST),
    "h": (VOXCELEB1_DEV, VOXCELEB1_TEST),
}


@dataclass(frozen=True)
class TestSet:
    """A list of trials.

    Attributes:
        name: Of its data directory, e.g. ``voxceleb1_o``.
        path: Of the published list.
        trials: In the order of the list.
        splits: Where its recordings are.
        differences: Lines that say how it differs from what was published.
    """

    __test__ = False  # no test case of pytest

    name: str
    path: Path
    trials: list[Trial]
    splits: tuple[Split, ...]
    differences: list[str]

    def require_apart(self, speakers: Collection[str], where: str) -> None:
        """Refuse to test on speakers that are trained on.

        Args:
            speakers: Training speakers.
            where: What they are, for the message.

        Raises:
            SVError: There are some; names the first.
        """
        tested = {utt.split("-", 1)[0] for trial in self.trials for utt in trial[:2]}
        if shared := tested.intersection(speakers):
            raise SVError(
                f"{self.name}: {len(shared):,} of its {len(tested):,} speakers are in"
                f" {where}, too: {name_some(shared)}; results would flatter, leave it out of"
                " --test_lists (o is of other speakers than VoxCeleb1 dev)"
            )


def read_test_sets(plan: Plan) -> list[TestSet]:
    """Read the lists that a plan names; those that it has no folder for are fetched.

    Raises:
        SVError: A list is unknown, cannot be fetched, or is malformed.
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
