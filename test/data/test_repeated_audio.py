"""What is shared or repeated is found by samples, whatever it is called."""

import shutil
from pathlib import Path

import numpy as np
import odd_audio
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.check_overlap import Policy
from espnet2_sv.data.formatting import format_data_dir
from espnet2_sv.data.kaldi import write_spk2utt, write_two_column
from espnet2_sv.data.pack_audio import pack_audio
from espnet2_sv.data.repeated_audio import equal_recordings, read_recordings
from espnet2_sv.errors import SVError

RATE = 16000


def voice(seed: int, samples: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9999, 9999, samples, np.int16)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return str(path)


def make_set(folder: Path, wavs: dict[str, str], trials: str = "") -> Path:
    """Write tables; an utterance's speaker is the part of its name before "-"."""
    write_two_column(folder / "wav.scp", wavs)
    write_two_column(folder / "utt2spk", {u: u.partition("-")[0] for u in wavs})
    speakers: dict[str, list[str]] = {}
    for utt in wavs:
        speakers.setdefault(utt.partition("-")[0], []).append(utt)
    write_spk2utt(folder / "spk2utt", speakers)
    if trials:
        (folder / "trials").write_text(trials)
    return folder


def groups_of(folder: Path, nj: int = 1) -> list[list[str]]:
    recordings = read_recordings(folder, RATE, nj=nj)
    groups = equal_recordings(recordings, RATE, nj=nj)
    return [[recordings[i].piece.utt for i in group] for group in groups]


def check(folder: Path, **options):
    report = check_data_dir(folder, **options)
    return list(report.problems()), list(report.warnings())


def test_equal_samples_are_found_in_every_lossless_form(tmp_path):
    x = voice(0)
    wavs = {
        "a-wav": write(tmp_path / "a.wav", x),
        "b-flac": write(tmp_path / "b.flac", x),
        "c-aiff": write(tmp_path / "c.aiff", x),
        "d-float": write(tmp_path / "d.wav", x / 32768, subtype="FLOAT"),
        "e-24": write(tmp_path / "e.flac", x.astype(np.int32) << 16, subtype="PCM_24"),
        "f-stereo": write(tmp_path / "f.wav", np.stack([x, x], 1)),
        "g-alac": odd_audio.write(
            tmp_path,
            "g.m4a",
            odd_audio.encode_av("mov", "alac", samples=(x + 0.1 * np.sign(x)) / 32767),
        ),
        "h-link": str(tmp_path / "link.wav"),
        "x-other": write(tmp_path / "x.wav", voice(1)),
        "y-louder": write(tmp_path / "y.wav", x // 2),
        "z-shifted": write(tmp_path / "z.wav", np.roll(x, 1)),
    }
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    folder = make_set(tmp_path / "data", wavs)
    assert groups_of(folder) == [sorted(wavs)[:8]]
    for out in ("formatted", "packed"):  # and wherever it has been put since
        if out == "packed":
            pack_audio(folder, tmp_path / out)
        else:
            format_data_dir(folder, tmp_path / out)
        assert groups_of(tmp_path / out) == [sorted(wavs)[:8]]


@settings(max_examples=15)
@given(data=st.data())
def test_groups_are_those_of_comparing_all_samples(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("random", numbered=True)
    sources = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=8))
    rate = data.draw(st.sampled_from([8000, 16000, 44100]))
    # of equal lengths, of one second and less than what is compared first, and those
    # that differ only before or behind the middle
    length = data.draw(st.sampled_from([rate, rate // 20]))
    wavs, samples = {}, []
    for i, source in enumerate(sources):
        x = voice(source // 2, length)
        x[-1] += source % 2
        samples.append(x.tobytes())
        suffix = data.draw(st.sampled_from(["wav", "flac"]))
        wavs[f"s{i}-{suffix}"] = write(folder / f"{i}.{suffix}", x, rate)
    expected = [
        [utt for utt, own in zip(wavs, samples, strict=True) if own == other]
        for other in dict.fromkeys(samples)
    ]
    recordings = read_recordings(make_set(folder / "data", wavs), rate)
    found = [
        [recordings[i].piece.utt for i in group]
        for group in equal_recordings(recordings, rate)
    ]
    assert found == sorted(group for group in expected if len(group) > 1)


def test_segments_are_compared_by_their_samples(tmp_path):
    x = voice(0, 4 * RATE)
    folder = make_set(
        tmp_path / "data",
        {
            "r-1": write(tmp_path / "a.wav", x),
            "r-2": write(tmp_path / "b.wav", x[RATE:]),
        },
    )
    write_two_column(
        folder / "segments",
        {"u-1": "r-1 1 2", "u-2": "r-2 0 1", "u-3": "r-1 2 3", "u-4": "r-1 1 2"},
    )
    assert groups_of(folder) == [["u-1", "u-2", "u-4"]]


def test_repeated_recordings_and_their_trials_are_named(tmp_path):
    wavs = {
        f"{spk}-{i}": write(tmp_path / f"{spk}{i}.wav", voice(seed))
        for spk, i, seed in (("amy", 1, 1), ("amy", 2, 1), ("bob", 1, 2), ("cem", 1, 2))
    }
    folder = make_set(
        tmp_path / "test",
        wavs,
        "amy-1 amy-2 target\namy-2 bob-1 nontarget\nbob-1 cem-1 nontarget\n",
    )
    trials, notes = folder / "trials", tmp_path / "notes"
    problems, warnings = check(folder, trials=[trials], notes=notes)
    assert problems == []
    assert warnings == [
        f"{folder}: 2 of 4 recordings repeat the samples of others, 1 across speakers,"
        " e.g. bob-1 = cem-1, amy-1 = amy-2",
        f"{trials}: 1 target trial compares two copies of one recording, which says"
        " nothing about a system; remove amy-1 amy-2",
        f"{trials}: 1 nontarget trial compares two copies of one recording, so the two"
        " speakers are one, or a label is wrong; correct bob-1 cem-1",
    ]
    assert notes.read_text().splitlines() == [
        f"test: 1 {label} trial compares two copies of one recording"
        for label in ("target", "nontarget")
    ]
    assert check(folder, trials=[trials], repeated=False) == ([], [])
    again = check(folder, trials=[trials], overlap_only=True, audio="none")
    assert again == ([], warnings)
    write(tmp_path / "amy2.wav", voice(3))
    write(tmp_path / "cem1.wav", voice(4))
    assert check(folder, trials=[trials], notes=notes) == ([], [])
    assert not notes.exists()


@pytest.fixture
def sets(tmp_path):
    """Training data, and a set with a speaker, a name and recordings of it."""
    train = {
        f"{spk}-{i}": write(tmp_path / f"train/{spk}{i}.wav", voice(10 * i + s))
        for s, spk in enumerate(("amy", "bob", "cem"))
        for i in range(2)
    }
    test = {
        "amy-0": write(tmp_path / "test/a.wav", voice(100)),  # a speaker and a name
        "dan-0": write(tmp_path / "test/d.flac", voice(11)),  # bob-1's samples
        "eve-0": train["cem-1"],  # cem-1's file
        "fay-0": write(tmp_path / "test/f.wav", voice(101)),
    }
    return make_set(tmp_path / "data/train", train), make_set(
        tmp_path / "data/test", test
    )


@pytest.mark.parametrize("formatted", [False, True])
def test_whatever_two_sets_share_is_a_problem(sets, formatted, tmp_path):
    train, test = sets
    if formatted:
        train, test = tmp_path / "dump/train", tmp_path / "dump/test"
        for data, out in zip(sets, (train, test), strict=True):
            format_data_dir(data, out)
    problems, warnings = check(test, against=[train])
    inflates = "; overlap inflates results, "
    assert [line.removeprefix(f"{test}") for line in problems] == [
        f"/utt2spk: speaker amy is also in {train}/utt2spk{inflates}hold it out",
        f"/utt2spk: utterance amy-0 is also in {train}/utt2spk{inflates}hold it out",
        f": utterance eve-0 is the same recording as cem-1 of {train}{inflates}remove"
        " one",
        f": utterance dan-0 has the same samples as bob-1 of {train}{inflates}remove"
        " one",
    ]
    assert warnings == []


@pytest.mark.parametrize("allowed", ["none", "speakers", "all"])
def test_what_is_allowed_is_a_warning_and_a_note(sets, allowed, tmp_path):
    train, test = sets
    policy = Policy(allowed, ["training"])
    options = {"against": [train], "policy": policy, "notes": tmp_path / "notes"}
    problems, warnings = check(test, **options, report_file=tmp_path / "list")
    assert (len(problems), len(warnings)) == {
        "none": (4, 0),
        "speakers": (3, 1),
        "all": (0, 4),
    }[allowed]
    assert (tmp_path / "notes").read_text().splitlines() == [
        "test: 1 of 4 speakers was also in training",
        "test: 1 of 4 utterances was also in training",
        "test: 1 of 4 recordings was also in training",
        "test: 1 of 4 recordings was also in training",
    ]
    if allowed != "none":
        assert warnings[0] == (
            f"{test}: 1 of 4 speakers is also in {train}, which inflates results: amy;"
            f" listed in {tmp_path}/list"
        )


def test_parts_of_one_file_are_shared_where_they_overlap(tmp_path):
    file = write(tmp_path / "a.wav", voice(0, 4 * RATE))
    train = make_set(tmp_path / "train", {"r-1": file})
    test = make_set(tmp_path / "test", {"q-1": file})
    write_two_column(train / "segments", {"amy-1": "r-1 0 2"})
    write_two_column(test / "segments", {"bob-1": "q-1 1.5 3", "cem-1": "q-1 2 3"})
    for folder, utts in ((train, ["amy-1"]), (test, ["bob-1", "cem-1"])):
        write_two_column(folder / "utt2spk", {u: u[:3] for u in utts})
        write_spk2utt(folder / "spk2utt", {u[:3]: [u] for u in utts})
    (problem,), _ = check(test, against=[train])
    assert "utterance bob-1 is the same recording as amy-1" in problem


def test_sets_that_share_nothing_pass(sets, tmp_path):
    train, test = sets
    other = make_set(
        tmp_path / "data/valid",
        {f"gil-{i}": write(tmp_path / f"v{i}.wav", voice(50 + i)) for i in range(3)},
    )
    assert check(other, against=[train, test]) == ([], [])
    (tmp_path / "v1.wav").unlink()
    shutil.copy(tmp_path / "train/bob0.wav", tmp_path / "v1.wav")
    (problem,), _ = check(other, against=[test, train])
    assert f"gil-1 has the same samples as bob-0 of {train}" in problem


def test_several_processes_find_the_same(tmp_path, monkeypatch):
    for module in ("repeated_audio", "check_audio"):
        monkeypatch.setattr(f"espnet2_sv.data.{module}._CHUNK", 3)
        monkeypatch.setattr(f"espnet2_sv.data.{module}.ALONE_SECONDS", 0.0)
    wavs = {
        f"s{i}-0": write(tmp_path / f"{i}.flac", voice(i % 7, 4000)) for i in range(10)
    }
    folder = make_set(tmp_path / "data", wavs)
    expected = [["s0-0", "s7-0"], ["s1-0", "s8-0"], ["s2-0", "s9-0"]]
    assert groups_of(folder, nj=2) == groups_of(folder) == expected


def test_what_is_unreadable_equals_nothing(tmp_path):
    wavs = {f"s{i}-0": write(tmp_path / f"{i}.wav", voice(0)) for i in range(4)}
    (tmp_path / "1.wav").write_bytes(b"hello")
    (tmp_path / "2.wav").write_bytes(b"hello")
    folder = make_set(tmp_path / "data", wavs)
    assert groups_of(folder) == [["s0-0", "s3-0"]]
    with pytest.raises(SVError, match="allow_overlap is some; choose none, speakers"):
        check_data_dir(folder, policy=Policy("some"))
