from espnet2_sv.data.corpora.voxceleb.counts import (
    VOXCELEB1_TEST_COUNT,
    PublishedCount,
    count_split,
)
from espnet2_sv.data.corpora.voxceleb.splits import VOXCELEB1_TEST, listed_speakers

TITLE = "VoxCeleb1 test"


def corpus_of(**utterances):
    return {
        s: [(f"{s}-{i}", f"{s}/{i}.wav") for i in range(n)]
        for s, n in utterances.items()
    }


def test_a_complete_corpus_is_as_published(tmp_path):
    speakers = listed_speakers(VOXCELEB1_TEST, tmp_path)
    full = corpus_of(**dict.fromkeys(speakers, 2))
    count = count_split(TITLE, PublishedCount(40, 80), full, speakers)
    assert str(count) == "VoxCeleb1 test: 40 speakers, 80 utterances, as published"
    assert count.differences == []


def test_what_differs_is_named(tmp_path):
    found = corpus_of(id10270=2, id10271=0, id10272=1, id99999=9)
    speakers = listed_speakers(VOXCELEB1_TEST, tmp_path)
    count = count_split(TITLE, VOXCELEB1_TEST_COUNT, found, speakers)
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


def test_surplus_speakers_and_utterances_are_differences():
    found = corpus_of(id10270=2, id10271=2)
    count = count_split(TITLE, PublishedCount(1, 1), found, ())
    assert count.differences == [
        "VoxCeleb1 test: 2 of 1 speakers, 1 are too many",
        "VoxCeleb1 test: 4 of 1 utterances, 3 are too many",
    ]
