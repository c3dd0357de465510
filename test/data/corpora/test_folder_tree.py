"""Data directories from folders ``SPEAKER/FILE``."""

import logging
import os
import shutil

import numpy as np
import pytest
import soundfile

from espnet2_sv.bin import sv_prep_folder
from espnet2_sv.data.corpora.folder_tree import prepare_folder, scan_folder
from espnet2_sv.data.kaldi import read_spk2utt, read_two_column
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".WAV")


def record(path, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(rate // 2) / 7), rate)
    return path


@pytest.fixture
def tree(tmp_path):
    """A folder of 12 speakers with three recordings each, in several formats."""
    for s in range(12):
        for u in range(3):
            suffix = SUFFIXES[(s + u) % len(SUFFIXES)]
            record(tmp_path / f"in/speaker {s}" / f"take {u}" / f"a{u}{suffix}")
    return tmp_path / "in"


def speakers(folder):
    return {s: sorted(utts) for s, utts in read_spk2utt(folder / "spk2utt").items()}


def test_every_recording_is_in_one_set_and_can_be_opened(tree, tmp_path, capsys):
    sv_prep_folder.main(
        ["--audio_dir", str(tree), "--output_dir", str(tmp_path / "data")]
    )
    sets = {n: speakers(tmp_path / "data" / n) for n in ("train", "valid", "test")}
    assert {name: len(found) for name, found in sets.items()} == {
        "train": 8,
        "valid": 2,
        "test": 2,
    }
    assert capsys.readouterr().out.splitlines() == [
        "test: 2 speakers, 6 recordings",
        "train: 8 speakers, 24 recordings",
        "valid: 2 speakers, 6 recordings",
    ]
    everyone = [s for found in sets.values() for s in found]
    assert sorted(everyone) == sorted(f"speaker_{s}" for s in range(12))
    for name, found in sets.items():
        wavs = read_two_column(tmp_path / "data" / name / "wav.scp")
        utt2spk = read_two_column(tmp_path / "data" / name / "utt2spk")
        assert sorted(wavs) == sorted(u for utts in found.values() for u in utts)
        assert utt2spk == {u: s for s, utts in found.items() for u in utts}
        assert list(wavs) == sorted(wavs)
        for utterance, path in wavs.items():
            number = utterance[-1]
            assert utterance == f"{utt2spk[utterance]}-take_{number}-a{number}"
            with open_audio(path) as source:
                assert source.rate == 16000


def test_the_selection_depends_on_the_seed_only(tree, tmp_path):
    def held_out(name, **options):
        sets = prepare_folder(tree, tmp_path / name, **options)
        return sorted(sets["valid"]), sorted(sets["test"])

    first = held_out("a")
    assert held_out("b") == first
    assert any(held_out(f"c{seed}", seed=seed) != first for seed in (1, 2, 3))
    valid, test = held_out("d", valid_speakers=4, test_speakers=3)
    assert (len(valid), len(test)) == (4, 3)
    record(tree / "new/a.wav")  # with one recording it cannot be held out
    assert held_out("e") == first


def test_what_is_no_audio_is_left_out_and_listed(tree, tmp_path, caplog):
    (tree / "README.txt").write_text("about")
    (tree / "speaker 1/notes.txt").write_text("text")
    (tree / "speaker 1/.hidden.wav").write_bytes(b"")
    (tree / "empty").mkdir()
    shutil.copy(tree / "speaker 1/take 0/a0.flac", tree / "speaker 1/a.flac |")
    shutil.copy(record(tmp_path / "x.wav"), tree / "speaker 1/without_ending")
    with caplog.at_level(logging.INFO):
        sets = prepare_folder(tree, tmp_path / "data")
    names = [u for found in sets.values() for utts in found.values() for u, _ in utts]
    assert len(names) == 37 and "speaker_1-without_ending" in names
    listed = (tmp_path / "data/left_out").read_text().splitlines()
    assert listed == [str(tree / f"speaker 1/{n}") for n in ("a.flac |", "notes.txt")]
    assert "2 files are no audio and are left out: a.flac |, notes.txt" in caplog.text
    assert "37 recordings of 12 speakers (.wav" in caplog.text


def test_one_name_in_two_formats_gives_two_utterances_and_a_warning(tree, caplog):
    folder = tree / "speaker 0/take 0"
    record(folder / "a0.aiff")
    found = dict(scan_folder(tree).corpus["speaker_0"])
    assert found["speaker_0-take_0-a0-aiff"] == str(folder / "a0.aiff")
    assert found["speaker_0-take_0-a0-wav"] == str(folder / "a0.wav")
    assert "remove one if they are one recording" in caplog.text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("loose.wav", "loose.wav: is in no speaker's folder"),
        ("speaker_0/a.wav", "would be called speaker_0, as .*speaker 0 is; rename"),
        ("speaker 0/a\nb.wav", r"a\\nb.wav: has a line break"),
        ("speaker 0/a.wav ", "a blank at its end"),
        ("speaker 0/take 0-a0.flac", "would be called speaker_0-take_0-a0-flac, as "),
        ("speaker 0/\udcff.wav", r"\\udcff.wav': its name is not UTF-8"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(tree, tmp_path, path, message):
    source = record(tmp_path / "x.wav")
    (tree / path).parent.mkdir(exist_ok=True)
    shutil.copy(source, os.fsencode(tree / path))
    if "take 0-a0" in path:  # the same name as of a nested file
        os.rename(tree / "speaker 0/take 0/a0.wav", tree / "speaker 0/take 0/a0.flac")
        with pytest.raises(SVError, match=message):
            scan_folder(tree)
        return
    with pytest.raises(SVError, match=message) as error:
        prepare_folder(tree, tmp_path / "data")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("speakers", "options", "message"),
    [
        (0, {}, "has no audio in folders of speakers"),
        (
            5,
            {},
            "has 5 speakers with recordings, but 2 are for validation, 2 for tests",
        ),
        (6, {"test_speakers": 3}, "has 6 speakers .* 3 for tests"),
        (-6, {}, "only 0 speakers have 2 or more recordings"),
    ],
)
def test_too_few_speakers_or_recordings_are_one_line(
    tmp_path, speakers, options, message
):
    (tmp_path / "in").mkdir()
    for s in range(abs(speakers)):
        for u in range(2 if speakers > 0 else 1):
            record(tmp_path / f"in/s{s}/{u}.wav")
    with pytest.raises(SVError, match=message):
        prepare_folder(tmp_path / "in", tmp_path / "data", **options)
    with pytest.raises(SVError, match="nowhere: cannot be read"):
        prepare_folder(tmp_path / "nowhere", tmp_path / "data")


def test_a_loop_of_links_ends(tree):
    os.symlink("..", tree / "speaker 0/again")
    assert "speaker_0" in scan_folder(tree).corpus
