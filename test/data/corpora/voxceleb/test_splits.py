import shutil

import pytest

from espnet2_sv.data.corpora.voxceleb.splits import (
    VOXCELEB1_DEV,
    VOXCELEB1_TEST,
    VOXCELEB2_DEV,
    find_tree,
    listed_speakers,
    scan_split,
)
from espnet2_sv.errors import SVError

SPLITS = {
    VOXCELEB1_DEV: "voxceleb1",
    VOXCELEB1_TEST: "voxceleb1",
    VOXCELEB2_DEV: "voxceleb2",
}


def scan(split, root, unpack_dir):
    corpus = scan_split(split, find_tree(split, root, unpack_dir), 2)
    return {speaker: [utt for utt, _ in utts] for speaker, utts in corpus.items()}


@pytest.fixture
def found(tree, tmp_path):
    """What is found in the official layout, split by split."""
    return {
        s: scan(s, getattr(tree, corpus), tmp_path / "u")
        for s, corpus in SPLITS.items()
    }


def test_the_official_layout_is_found(found, tree, voxceleb_tree, tmp_path):
    assert [len(speakers) for speakers in found.values()] == [4, 4, 10]
    utts = {
        utt for corpus in found.values() for utts in corpus.values() for utt in utts
    }
    files = [p for p in tree.root.rglob("*/id*/*/*") if p.is_file()]
    assert utts == {voxceleb_tree.utterance_id(path) for path in files}
    assert not (tmp_path / "u").exists()


def test_archives_give_the_same(found, archives, tmp_path):
    for split, corpus in SPLITS.items():
        assert scan(split, getattr(archives, corpus), tmp_path / "u") == found[split]
    for (
        split,
        corpus,
    ) in SPLITS.items():  # and once they are unpacked, they are no longer needed
        root = tmp_path / "gone" / corpus
        assert scan(split, root, tmp_path / "u") == found[split]


def test_the_layout_of_espnets_crawler_is_found(found, own_tree, tmp_path):
    for split, corpus in SPLITS.items():
        inner = split.trees[0].split("/")[0]
        (source,) = (getattr(own_tree, corpus) / inner).iterdir()
        source.rename(source.with_name("txt"))
        assert scan(split, getattr(own_tree, corpus), tmp_path / "u") == found[split]


def test_voxceleb1_may_lie_in_one_folder(found, own_tree, tmp_path):
    for part in ("dev", "test"):
        shutil.copytree(
            own_tree.voxceleb1 / part / "wav", tmp_path / "wav", dirs_exist_ok=True
        )
    for root in (tmp_path, tmp_path / "wav"):
        for split in (VOXCELEB1_DEV, VOXCELEB1_TEST):
            assert scan(split, root, tmp_path / "u") == found[split]


@pytest.mark.parametrize("place", ["aac", "wav", "dev/wav", "dev/flac", "."])
def test_voxceleb2_may_lie_in_several_places(found, own_tree, tmp_path, place):
    shutil.copytree(
        own_tree.voxceleb2 / "dev/aac", tmp_path / "v2" / place, dirs_exist_ok=True
    )
    assert scan(VOXCELEB2_DEV, tmp_path / "v2", tmp_path / "u") == found[VOXCELEB2_DEV]


@pytest.mark.parametrize("audio", ["wav", "flac"])
def test_converted_trees_have_the_same_utterances(
    found, own_tree, voxceleb_tree, tmp_path, audio
):
    for path in own_tree.voxceleb2.rglob("*.m4a"):
        path.rename(path.with_suffix(f".{audio}"))
    assert scan(VOXCELEB2_DEV, own_tree.voxceleb2, tmp_path) == found[VOXCELEB2_DEV]


def test_archives_in_the_folder_they_are_unpacked_to_go_on_after_a_kill(
    found, archives, tmp_path
):
    shutil.copytree(archives.voxceleb2, tmp_path / "downloads/voxceleb2")
    (tmp_path / "downloads/voxceleb2/dev/aac/id00012").mkdir(
        parents=True
    )  # a kill's remains
    root = tmp_path / "downloads/voxceleb2"
    assert scan(VOXCELEB2_DEV, root, tmp_path / "downloads") == found[VOXCELEB2_DEV]


def test_nothing_there_is_reported_with_the_variable_to_set(tmp_path):
    with pytest.raises(
        SVError, match=rf"^{tmp_path}: holds neither VoxCeleb2 dev .*VOXCELEB2"
    ):
        find_tree(VOXCELEB2_DEV, tmp_path, tmp_path / "u")


def test_a_test_set_without_its_speakers_is_not_taken_for_one(own_tree, tmp_path):
    shutil.rmtree(own_tree.voxceleb1 / "test")
    shutil.move(own_tree.voxceleb1 / "dev/wav", own_tree.voxceleb1 / "wav")
    assert find_tree(VOXCELEB1_DEV, own_tree.voxceleb1, tmp_path)
    with pytest.raises(SVError, match="holds neither VoxCeleb1 test"):
        find_tree(VOXCELEB1_TEST, own_tree.voxceleb1, tmp_path)


def test_voxceleb1_s_speakers_are_known_by_number(tmp_path):
    dev, test = (
        listed_speakers(split, tmp_path) for split in (VOXCELEB1_DEV, VOXCELEB1_TEST)
    )
    assert (len(dev), len(test)) == (
        VOXCELEB1_DEV.published.speakers,
        VOXCELEB1_TEST.published.speakers,
    )
    assert (test[0], test[-1], dev[0], dev[-1]) == (
        "id10270",
        "id10309",
        "id10001",
        "id11251",
    )


def test_voxceleb2_s_speakers_are_those_of_its_meta_file(tmp_path):
    assert listed_speakers(VOXCELEB2_DEV, tmp_path) == []
    (tmp_path / "vox2_meta.csv").write_text(
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00017"
        " ,n000017 ,m ,test \nid00018 ,n000018 ,f ,dev\n"
    )
    assert listed_speakers(VOXCELEB2_DEV, tmp_path) == ["id00012", "id00018"]
