import logging

import pytest

from espnet2_sv.data.corpora.counts import accept, count_share, name
from espnet2_sv.data.corpora.voxceleb import VOXCELEB1_TEST, listed_speakers
from espnet2_sv.errors import SVError


def corpus_of(**utterances):
    return {
        s: [(f"{s}-{i}", f"{s}/{i}.wav") for i in range(n)]
        for s, n in utterances.items()
    }


def test_what_is_as_published_is_said_so(tmp_path):
    full = corpus_of(**dict.fromkeys(listed_speakers(VOXCELEB1_TEST, tmp_path), 2))
    share = VOXCELEB1_TEST._replace(utterances=80)
    count = count_share(share, full, tmp_path)
    assert str(count) == "VoxCeleb1 test: 40 speakers, 80 utterances, as published"
    assert count.differences == []


def test_what_differs_is_named(tmp_path):
    found = corpus_of(id10270=2, id10271=0, id10272=1, id99999=9)
    count = count_share(VOXCELEB1_TEST, found, tmp_path)
    assert str(count) == "VoxCeleb1 test: 3 speakers, 12 utterances, not as published"
    assert count.differences == [
        "VoxCeleb1 test: 3 of 40 speakers, 37 are missing",
        "VoxCeleb1 test: 12 of 4,874 utterances, 4,862 are missing",
        "VoxCeleb1 test: 1 speakers have a folder without recordings: id10271",
        (
            "VoxCeleb1 test: 37 speakers have no folder: id10273, id10274, id10275,"
            " id10276, id10277 and 32 more"
        ),
        "VoxCeleb1 test: 1 speakers are unknown: id99999",
    ]


def test_too_many_are_told_too(tmp_path):
    share = VOXCELEB1_TEST._replace(speakers=1, utterances=1)
    count = count_share(share, corpus_of(id10270=2, id10271=2), tmp_path)
    assert count.differences[:2] == [
        "VoxCeleb1 test: 2 of 1 speakers, 1 are too many",
        "VoxCeleb1 test: 4 of 1 utterances, 3 are too many",
    ]


def test_differences_stop_unless_they_are_allowed(caplog):
    with pytest.raises(
        SVError, match=r"^a \(1 more, see above\); .*--allow_incomplete true$"
    ):
        accept(["a", "b"], allowed=False)
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "a",
        "b",
    ]
    accept(["a", "b"], allowed=True)
    accept([], allowed=False)


def test_few_are_named_in_full():
    assert name({"b", "a"}) == "a, b"
