import dataclasses

import pytest

from espnet2_sv.data.corpora.test_sets import read_test_sets
from espnet2_sv.errors import SVError


def test_lists_are_read_from_a_folder_and_counted(plan, tree):
    o, e, h = read_test_sets(plan)
    assert [test.name for test in (o, e, h)] == [
        "voxceleb1_o",
        "voxceleb1_e",
        "voxceleb1_h",
    ]
    assert [test.path.name for test in (o, e, h)] == [
        "veri_test2.txt",
        "list_test_all2.txt",
        "list_test_hard2.txt",
    ]
    assert o.differences == [
        f"{tree.trial_lists}/veri_test2.txt: 30 lines of 37,611 published"
    ]
    uncleaned = read_test_sets(
        dataclasses.replace(plan, cleaned=False, test_lists=["e"])
    )
    assert [(test.path.name, len(test.trials)) for test in uncleaned] == [
        ("list_test_all.txt", 40)
    ]


def test_speakers_that_are_trained_on_are_refused_by_name(plan):
    o, e, _ = read_test_sets(plan)
    o.require_apart(["id10001", "id00012"], "the training set")
    with pytest.raises(
        SVError, match=r"^voxceleb1_e: 1 of its 8 speakers are in V, too: id10001;"
    ):
        e.require_apart(["id10001", "id00012"], "V")
