"""The sets on which VoxCeleb1's published lists of trials are scored."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from espnet2_sv.data.corpora.counts import name
from espnet2_sv.data.corpora.official_trials import (
    Trial,
    choose_lists,
    fetch_list,
    read_list,
)
from espnet2_sv.data.corpora.plan import Plan
from espnet2_sv.data.corpora.voxceleb import VOXCELEB1_DEV, VOXCELEB1_TEST, Split
from espnet2_sv.errors import SVError

_SHARES = {
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
        shares: Where its recordings are.
        differences: Lines that say how it differs from what was published.
    """

    __test__ = False  # no test case of pytest

    name: str
    path: Path
    trials: list[Trial]
    shares: tuple[Split, ...]
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
                f" {where}, too: {name(shared)}; results would flatter, leave it out of"
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
            TestSet(f"voxceleb1_{kind}", path, trials, _SHARES[kind], differences)
        )
    return sets
