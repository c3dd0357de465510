import numpy as np
import pytest

from espnet2_sv.data.check_audio import check_audio
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.validation_report import ValidationReport


def check(wavs, level, nj=1, allow_pipes=False):
    report = ValidationReport()
    table = KaldiTable.from_dict(wavs, "wav.scp")
    durations = check_audio(table, level, allow_pipes, nj, 16000, report)
    return durations, list(report.problems()), list(report.warnings())


def truncate(path, part):
    with open(path, "r+b") as f:
        f.truncate(int(f.seek(0, 2) * part))
    return path


@pytest.mark.parametrize("level", ["header", "full"])
@pytest.mark.parametrize("nj", [1, 2])
def test_good_audio_has_a_duration_and_no_problem(
    write_wav, write_m4a, noise, level, nj
):
    wavs = {
        "a": write_wav("a.wav", 4000),
        "b": write_wav("b.flac", 16000),
        "c": write_m4a("c.m4a", noise(8192)),
    }
    durations, problems, warnings = check(wavs, level, nj)
    assert (problems, warnings) == ([], [])
    assert (durations["a"], durations["b"]) == (0.25, 1.0)
    assert durations["c"] == pytest.approx(0.512, abs=0.13)


@pytest.mark.parametrize("level", ["header", "full"])
def test_missing_empty_truncated_and_strange_files_are_all_named(
    write_wav, tmp_path, level
):
    (tmp_path / "strange.wav").write_bytes(b"hello" * 99)
    (tmp_path / "nothing.wav").touch()
    wavs = {
        "a": f"{tmp_path}/gone.wav",
        "b": write_wav("samples.wav", np.zeros(0)),
        "c": f"{tmp_path}/nothing.wav",
        "d": f"{tmp_path}/strange.wav",
        "e": truncate(write_wav("short.wav", 9000), 0.5),
        "f": write_wav("good.wav", 1000),
        "g": "cat x.wav |",
    }
    durations, problems, _ = check(wavs, level)
    assert list(durations) == ["f"]
    expected = [
        "no such",
        "holds no samples",
        "is empty",
        "not audio",
        "truncated",
        "is a command",
    ]
    assert len(problems) == 6
    for line, utt, what in zip(problems, "abcdeg", expected, strict=True):
        assert line.startswith(f"wav.scp: utterance {utt}: {wavs[utt]}: ")
        assert what in line


def test_decoding_finds_more_than_headers(write_wav, noise):
    nan = noise(100000)
    nan[99999] = np.nan
    wavs = {
        "a": write_wav("nan.wav", nan, subtype="FLOAT"),
        "c": write_wav("silent.wav", np.zeros(70000)),
        "d": write_wav("late.wav", np.r_[np.zeros(1_000_000), 0.5]),
    }
    assert check(wavs, "header")[1:] == ([], [])
    durations, problems, warnings = check(wavs, "full")
    assert sorted(durations) == ["c", "d"]
    assert "utterance a: " in problems[0]
    assert "NaN or infinite" in problems[0]
    assert len(problems) == 1
    assert warnings == ["wav.scp: 1 of 2 recordings is silent, all samples are zero: c"]


def test_other_rates_and_channels_are_one_line_and_a_list(write_wav, noise, tmp_path):
    wavs = {
        "a": write_wav("a.wav", noise(800), rate=8000),
        "b": write_wav("b.wav", noise(2000), rate=44100),
        "c": write_wav("c.wav", noise(800, channels=2)),
        "d": write_wav("d.wav", noise(800, channels=2), rate=8000),
        "e": write_wav("e.wav", noise(800, channels=3)),
        "f": write_wav("f.wav", noise(800)),
    }
    report = ValidationReport(file=tmp_path / "list")
    table = KaldiTable.from_dict(wavs, "wav.scp")
    check_audio(table, "header", False, 1, 16000, report)
    line = (
        "wav.scp: 5 of 6 recordings are converted: 8 kHz 2 (nothing above 4 kHz), 44.1"
        " kHz 1; 2 have two channels; 1 has 3 channels, of which the mean is used"
    )
    assert list(report.warnings()) == [f"{line}; listed in {tmp_path}/list"]
    assert list(report.problems()) == []
    report.save()
    start = "wav.scp: utterance "
    assert (tmp_path / "list").read_text().splitlines() == [
        f"{line}; listed in {tmp_path}/list",
        f"{start}a: is at 8000 Hz (nothing above 4 kHz)",
        f"{start}b: is at 44100 Hz",
        f"{start}c: has 2 channels",
        f"{start}d: is at 8000 Hz (nothing above 4 kHz) and has 2 channels",
        f"{start}e: has 3 channels",
    ]


@pytest.mark.parametrize("nj", [1, 2])
def test_what_cannot_be_read_is_named_counted_and_listed(write_wav, tmp_path, nj):
    wavs = {"good": write_wav("good.wav", 800)}
    for i in range(25):
        (tmp_path / f"{i:02d}.wav").write_bytes(b"hello" * 99)
        wavs[f"bad-{i:02d}"] = f"{tmp_path}/{i:02d}.wav"
    report = ValidationReport(file=tmp_path / "list")
    table = KaldiTable.from_dict(wavs, "wav.scp")
    check_audio(table, "header", False, nj, 16000, report)
    *named, last = report.problems()
    assert [line.split()[2] for line in named] == [f"bad-{i:02d}:" for i in range(10)]
    assert last == f"audio: 15 more, listed in {tmp_path}/list"
    report.save()
    assert len((tmp_path / "list").read_text().splitlines()) == 25
    nothing = ValidationReport(file=tmp_path / "list")
    nothing.save()
    assert not (tmp_path / "list").exists()


def test_pipes_are_run_where_allowed(write_wav):
    wavs = {"a": f"cat {write_wav('a.wav', 1600)} |"}
    assert check(wavs, "full", allow_pipes=True) == ({"a": 0.1}, [], [])


@pytest.mark.parametrize("level", ["header", "full"])
def test_an_m4a_whose_data_end_early_is_named(write_m4a, noise, level):
    path = truncate(write_m4a("a.m4a", noise(60000), faststart=True), 0.8)
    _, problems, _ = check({"a": path}, level)
    assert len(problems) == 1
    assert f"utterance a: {path}: is truncated" in problems[0]


def test_silence_is_found_in_m4a_too(write_m4a):
    _, problems, warnings = check(
        {"a": write_m4a("a.m4a", np.zeros(20000, np.float32))}, "full"
    )
    assert problems == []
    assert warnings == ["wav.scp: 1 of 1 recording is silent, all samples are zero: a"]


def test_shards_look_at_everything_once(write_wav, monkeypatch):
    monkeypatch.setattr("espnet2_sv.data.check_audio._CHUNK", 2)
    wavs = {f"u{i}": write_wav(f"{i}.wav", 800 + i) for i in range(7)}
    table = KaldiTable.from_dict(wavs, "wav.scp")
    seen = [
        utt
        for i in (1, 2, 3)
        for utt in check_audio(
            table, "header", False, 1, 16000, ValidationReport(), f"{i}/3"
        )
    ]
    assert sorted(seen) == sorted(wavs)
