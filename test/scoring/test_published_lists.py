import dataclasses

import numpy as np
import pytest

from espnet2_sv.scoring.published_lists import PUBLISHED, identify_list
from espnet2_sv.scoring.trials import Trials


def published(number: int, separator: str = "/") -> Trials:
    """Make a list with the counts and the name format of a published one."""
    wanted = PUBLISHED[number]
    n = wanted.n_speakers
    names = [
        f"id1{s:04d}{separator}aBcDeFgHi_J{separator}{u:05d}"
        for s in range(n)
        for u in (1, 2)
    ]
    targets, nontargets = (
        np.arange(wanted.n_target) % n,
        np.arange(wanted.n_nontarget) % n,
    )
    enroll = np.concatenate([2 * targets, 2 * nontargets])
    test = np.concatenate([2 * targets + 1, 2 * ((nontargets + 1) % n)])
    labels = np.arange(len(enroll)) < wanted.n_target
    return Trials(names, names, enroll, test, labels)


@pytest.mark.parametrize("separator", ["/", "-"])
@pytest.mark.parametrize("number", range(len(PUBLISHED)))
def test_published_lists_are_named(number, separator):
    found = identify_list(published(number, separator))
    assert found.name == PUBLISHED[number].name
    assert found.name in found.note


def test_cleaned_lists_have_the_counts_that_voxceleb_states():
    counts = {p.name: p.n_target + p.n_nontarget for p in PUBLISHED}
    assert counts["VoxCeleb1-O (cleaned)"] == 37_611
    assert counts["VoxCeleb1-E (cleaned)"] == 579_818
    assert counts["VoxCeleb1-H (cleaned)"] == 550_894
    assert counts["VoxCeleb1-O"] == 37_720


def test_a_list_with_a_trial_missing_is_not_the_published_one():
    trials = published(1)
    shorter = dataclasses.replace(
        trials,
        enroll_index=trials.enroll_index[1:],
        test_index=trials.test_index[1:],
        labels=trials.labels[1:],
    )
    found = identify_list(shorter)
    assert found.name is None
    assert "18,801 target and 18,809 nontarget" in found.note
    assert "VoxCeleb1-O (cleaned) has 37,611" in found.note


def test_equal_counts_of_other_utterances_are_not_the_published_list():
    trials = published(1)
    names = [f"spk{i}" for i in range(80)]
    found = identify_list(
        dataclasses.replace(trials, enroll_names=names, test_names=names)
    )
    assert found.name is None
    assert "but of other utterances" in found.note
    scrambled = dataclasses.replace(trials, labels=trials.labels[::-1])
    assert identify_list(scrambled).name is None


def test_other_lists_have_no_name():
    trials = Trials(
        ["a"], ["b", "c"], np.array([0, 0]), np.array([0, 1]), np.array([True, False])
    )
    assert identify_list(trials).name is None
