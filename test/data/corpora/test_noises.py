import shutil

import pytest

from espnet2_sv.data.audio import audio_info
from espnet2_sv.data.corpora import noises
from espnet2_sv.data.corpora.noises import prepare_noises
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError

COUNTS = {
    "musan_music.scp": 2,
    "musan_noise.scp": 2,
    "musan_speech.scp": 2,
    "rirs.scp": 8,
}


@pytest.fixture
def as_published(monkeypatch):
    """Takes the generated trees' numbers for the published ones."""
    monkeypatch.setattr(noises, "MUSAN_KINDS", dict.fromkeys(noises.MUSAN_KINDS, 2))
    monkeypatch.setattr(noises, "RIR_ROOMS", dict.fromkeys(noises.RIR_ROOMS, 4))


@pytest.mark.usefixtures("as_published")
def test_lists_name_every_file_once(tree, tmp_path):
    assert prepare_noises(tree.musan, tree.rirs, tmp_path) == COUNTS
    for name, count in COUNTS.items():
        files = read_two_column(tmp_path / name)
        assert len(set(files.values())) == count
        for path in files.values():
            assert audio_info(path).channels == 1
    assert list(read_two_column(tmp_path / "musan_noise.scp")) == [
        "noise-free-sound-0000",
        "noise-free-sound-0001",
    ]
    rirs = read_two_column(tmp_path / "rirs.scp")
    assert rirs["small-Room001-00001"].endswith("smallroom/Room001/Room001-00001.wav")
    assert {name.split("-")[0] for name in rirs} == {"small", "medium"}


@pytest.mark.usefixtures("as_published")
def test_archives_and_the_folders_around_do_as_well(tree, archives, tmp_path):
    prepare_noises(tree.musan, tree.rirs, tmp_path / "a")
    for number, (musan, rirs) in enumerate(
        [
            (tree.root, tree.root),
            (archives.musan, archives.rirs),
            (archives.root, archives.root),
        ]
    ):
        out, unpacked = tmp_path / f"b{number}", tmp_path / f"u{number}"
        assert prepare_noises(musan, rirs, out, unpack_dir=unpacked) == COUNTS
        assert unpacked.exists() == (number > 0)
        for name in COUNTS:
            assert list(read_two_column(out / name)) == list(
                read_two_column(tmp_path / "a" / name)
            )


@pytest.mark.usefixtures("as_published")
def test_rooms_can_be_chosen(tree, tmp_path):
    found = prepare_noises(tree.musan, tree.rirs, tmp_path, rooms=["large"])
    assert found == COUNTS | {"rirs.scp": 4}
    with pytest.raises(SVError, match="rooms huge: choose from small medium large"):
        prepare_noises(tree.musan, tree.rirs, tmp_path, rooms=["huge"])


def test_missing_files_are_counted_and_go_on_only_where_allowed(tree, tmp_path, caplog):
    with pytest.raises(
        SVError, match=r"musan/music: 2 files of 660 published \(4 more"
    ):
        prepare_noises(tree.musan, tree.rirs, tmp_path)
    assert not list(tmp_path.iterdir())
    assert "smallroom: 4 files of 20,000 published" in caplog.text
    prepare_noises(tree.musan, tree.rirs, tmp_path, allow_incomplete=True)
    assert len(list(tmp_path.iterdir())) == 4


def test_folders_that_do_not_exist_are_reported_with_the_variable_to_set(
    own_tree, tmp_path
):
    with pytest.raises(
        SVError, match=r"none: holds neither musan/noise .*; set MUSAN in db\.sh"
    ):
        prepare_noises(
            tmp_path / "none", own_tree.rirs, tmp_path, unpack_dir=tmp_path / "u"
        )
    shutil.rmtree(own_tree.rirs / "simulated_rirs/mediumroom")
    with pytest.raises(SVError, match="mediumroom: has no wav files"):
        prepare_noises(own_tree.musan, own_tree.rirs, tmp_path)


def test_two_files_of_one_name_are_refused(own_tree, tmp_path):
    noise = own_tree.musan / "noise"
    (noise / "sound-bible").mkdir()
    name = "noise-free-sound-0000.wav"
    shutil.copy(noise / "free-sound" / name, noise / "sound-bible" / name)
    with pytest.raises(
        SVError, match=f"sound-bible/{name}: has the same name as .*free-sound/{name}"
    ):
        prepare_noises(own_tree.musan, own_tree.rirs, tmp_path)
