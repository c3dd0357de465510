import os

import pytest

from espnet2_sv.data.corpora.speaker_tree import scan_speakers
from espnet2_sv.errors import SVError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("nj", [1, 5])
def test_names_carry_speaker_video_and_file(tmp_path, nj):
    touch(
        tmp_path,
        "id2/-v/00002.m4a",
        "id2/-v/00001.m4a",
        "id1/vb/00001.wav",
        "id1/va/00009.FLAC",
    )
    assert scan_speakers(tmp_path, nj) == {
        "id1": [
            ("id1-va-00009", f"{tmp_path}/id1/va/00009.FLAC"),
            ("id1-vb-00001", f"{tmp_path}/id1/vb/00001.wav"),
        ],
        "id2": [
            ("id2--v-00001", f"{tmp_path}/id2/-v/00001.m4a"),
            ("id2--v-00002", f"{tmp_path}/id2/-v/00002.m4a"),
        ],
    }


def test_speakers_and_utterances_are_in_byte_order_whatever_the_disk_s(tmp_path):
    names = [
        f"id{s}/{v}/{u:05d}.wav"
        for s in (9, 10, 2)
        for v in "aB_-0"
        for u in (3, 1, 20)
    ]
    touch(tmp_path, *names)
    corpus = scan_speakers(tmp_path)
    assert list(corpus) == sorted(corpus)
    for utterances in corpus.values():
        assert utterances == sorted(utterances)
    assert sum(map(len, corpus.values())) == len(names)


def test_what_is_no_recording_is_left_out_and_empty_speakers_are_kept(tmp_path):
    touch(
        tmp_path, "meta.csv", "id1/v/00001.txt", "id1/v/._00001.wav", "id1/.v/00001.wav"
    )
    touch(tmp_path, "id1/00001.wav", "id1/v/deep/00001.wav")
    (tmp_path / "id2").mkdir()
    assert scan_speakers(tmp_path) == {"id1": [], "id2": []}


def test_of_several_formats_the_quickest_to_read_is_taken(tmp_path):
    touch(
        tmp_path,
        "id1/v/1.m4a",
        "id1/v/1.wav",
        "id1/v/2.flac",
        "id1/v/2.m4a",
        "id1/v/3.m4a",
    )
    (utterances,) = scan_speakers(tmp_path).values()
    assert [os.path.basename(path) for _, path in utterances] == [
        "1.wav",
        "2.flac",
        "3.m4a",
    ]


def test_links_are_followed(tmp_path):
    touch(tmp_path, "disk/id1/v/00001.wav")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/id1").symlink_to(tmp_path / "disk/id1")
    assert list(scan_speakers(tmp_path / "tree")) == ["id1"]


def test_prefixed_and_wanted_speakers(tmp_path):
    touch(tmp_path, "id1/v/1.wav", "id2/v/1.wav")
    corpus = scan_speakers(
        tmp_path, prefix="x-", wanted=lambda speaker: speaker != "id1"
    )
    assert corpus == {"x-id2": [("x-id2-v-1", f"{tmp_path}/id2/v/1.wav")]}


def test_names_that_tables_cannot_hold_are_refused(tmp_path):
    touch(tmp_path, "id 1/v/1.wav")
    with pytest.raises(SVError, match="speaker id 1: a name has a space"):
        scan_speakers(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SVError, match=f"^{tmp_path}/none: cannot be read"):
        scan_speakers(tmp_path / "none")
