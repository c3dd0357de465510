import os

import numpy as np
import pytest
import soundfile

import espnet2_sv.data.formatting as formatting
from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.formatting import format_data_dir
from espnet2_sv.data.kaldi import read_two_column, write_two_column
from espnet2_sv.errors import SVError


@pytest.fixture
def data_dir(tmp_path, write_wav, write_m4a, noise):
    wavs = {
        "good": write_wav("good.wav", 4000),
        "m4a": write_m4a("m4a.m4a", noise(9000)),
        "rate/8000": write_wav("rate.wav", 4001, rate=8000),
        "stereo": write_wav("stereo.flac", noise(5000, channels=2)),
    }
    write_two_column(tmp_path / "data/wav.scp", wavs)
    write_two_column(tmp_path / "data/utt2spk", dict.fromkeys(wavs, "amy"))
    (tmp_path / "data/trials").write_text("good stereo target\n")
    (tmp_path / "data/utt2dur").write_text("good 99\n")
    (tmp_path / "data/.hidden").write_text("x")
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "dump" / "data"


def format_well(data_dir, out, **kwargs):
    report = format_data_dir(data_dir, out, **kwargs)
    assert list(report.problems()) == []
    return read_two_column(out / "wav.scp")


def files_below(folder):
    return {p: os.stat(p).st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("nj", [1, 2])
def test_only_what_needs_it_is_converted(data_dir, out, nj):
    before, after = (
        read_two_column(data_dir / "wav.scp"),
        format_well(data_dir, out, nj=nj),
    )
    assert list(after) == list(before)
    assert {utt for utt in before if before[utt] != after[utt]} == {
        "rate/8000",
        "stereo",
    }
    for utt, path in after.items():
        info = audio_info(path)
        assert (info.rate, info.channels) == (16000, 1)
        assert np.abs(read_audio(path) - read_audio(before[utt])).max() <= 1 / 32768
    assert all(p.suffix == ".flac" for p in files_below(out / "audio"))


def test_durations_are_those_of_the_audio(data_dir, out):
    wavs = format_well(data_dir, out)
    for utt, seconds in read_two_column(out / "utt2dur").items():
        exact = utt != "m4a"
        assert float(seconds) * 16000 == pytest.approx(
            len(read_audio(wavs[utt])), abs=0.01 if exact else 2048
        )


def test_the_rest_is_copied(data_dir, out):
    format_well(data_dir, out)
    assert {p.name for p in out.iterdir()} == {
        "wav.scp",
        "utt2dur",
        "utt2spk",
        "trials",
        "audio",
    }
    for name in ("utt2spk", "trials"):
        assert (out / name).read_bytes() == (data_dir / name).read_bytes()


def test_containers_are_converted_where_asked(data_dir, out):
    path = format_well(data_dir, out, convert_containers=True, audio_format="wav")[
        "m4a"
    ]
    assert path.endswith(".wav")
    source = read_two_column(data_dir / "wav.scp")["m4a"]
    assert np.abs(read_audio(path) - read_audio(source)).max() <= 1 / 32768


def test_pipes_become_files_where_allowed(data_dir, out, write_wav):
    path = write_wav("piped.wav", 3000)
    write_two_column(data_dir / "wav.scp", {"piped": f"cat {path} |"})
    (line,) = format_data_dir(data_dir, out).problems()
    assert line.startswith(f"{data_dir}/wav.scp: utterance piped: ")
    assert "--allow_pipes" in line
    assert not (out / "wav.scp").exists()
    wavs = format_well(data_dir, out, allow_pipes=True)
    assert np.array_equal(read_audio(wavs["piped"]), read_audio(path))


def test_segments_are_cut(data_dir, out):
    write_two_column(
        data_dir / "segments",
        {"u1": "good 0.05 0.15", "u2": "stereo 0.1 -1", "u3": "m4a 0 0.2"},
    )
    wavs, sources = format_well(data_dir, out), read_two_column(data_dir / "wav.scp")
    assert not (out / "segments").exists()
    for utt, source, start, stop in [
        ("u1", "good", 800, 2400),
        ("u2", "stereo", 1600, 5000),
        ("u3", "m4a", 0, 3200),
    ]:
        expected = read_audio(sources[source])[start:stop]
        assert np.abs(read_audio(wavs[utt]) - expected).max() <= 1 / 32768
    assert read_two_column(out / "utt2dur") == {
        "u1": "0.100000",
        "u2": "0.212500",
        "u3": "0.200000",
    }


def test_segments_that_outlast_their_recording_are_named(data_dir, out):
    write_two_column(data_dir / "segments", {"u1": "good 0 0.6", "u2": "good 0.1 0.9"})
    (line,) = format_data_dir(data_dir, out).problems()
    assert "utterance u2: " in line
    assert "lasts 0.25 s, but the segment ends at 0.90 s" in line


def test_a_second_call_converts_nothing_again(data_dir, out):
    first = format_well(data_dir, out)
    audio = files_below(out / "audio")
    assert format_well(data_dir, out) == first
    assert files_below(out / "audio") == audio


def test_a_changed_source_is_converted_again(data_dir, out, noise, write_wav):
    first = format_well(data_dir, out)
    path = write_wav("stereo.flac", noise(4000, channels=2, seed=5))
    os.utime(path, (4e9, 4e9))
    second = format_well(data_dir, out)
    assert len(read_audio(second["stereo"])) == 4000
    other = write_wav("other.wav", 7000, rate=8000)
    edited = read_two_column(data_dir / "wav.scp") | {"rate/8000": other}
    write_two_column(data_dir / "wav.scp", edited)
    third = format_well(data_dir, out)
    assert len(read_audio(third["rate/8000"])) == 14000
    assert third["good"] == first["good"]
    assert audio_info(format_well(data_dir, out, sample_rate=8000)["good"]).rate == 8000


def test_a_killed_call_is_taken_up_where_it_was(data_dir, out, monkeypatch):
    monkeypatch.setattr(formatting, "_CHUNK", 1)
    with pytest.MonkeyPatch.context() as patch:
        real, calls = formatting.atomic_write, []

        def killed(path, *args):
            if str(path).endswith(".flac"):
                calls.append(path)
                if len(calls) == 2:
                    raise KeyboardInterrupt
            return real(path, *args)

        patch.setattr(formatting, "atomic_write", killed)
        with pytest.raises(KeyboardInterrupt):
            format_data_dir(data_dir, out)
    assert not (out / "wav.scp").exists()
    converted = files_below(out / "audio")
    assert len(converted) == 1
    opened, real_open = [], formatting.open_audio
    monkeypatch.setattr(
        formatting,
        "open_audio",
        lambda spec, *a: opened.append(spec) or real_open(spec, *a),
    )
    wavs = format_well(data_dir, out)
    assert opened == [read_two_column(data_dir / "wav.scp")["stereo"]]
    assert converted.items() <= files_below(out / "audio").items()
    assert len(read_audio(wavs["stereo"])) == 5000
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_all_bad_utterances_are_named_and_mending_them_is_enough(
    data_dir, out, write_wav
):
    wavs = read_two_column(data_dir / "wav.scp")
    write_two_column(
        data_dir / "wav.scp", wavs | {"x": "/gone/x.wav", "y": "/gone/y.wav"}
    )
    problems = list(format_data_dir(data_dir, out, nj=2).problems())
    assert problems == [
        f"{data_dir}/wav.scp: utterance {utt}: /gone/{utt}.wav: no such audio file;"
        " correct the path or remove the utterance"
        for utt in ("x", "y")
    ]
    assert not (out / "wav.scp").exists()
    good = write_wav("x.wav", 1000)
    write_two_column(data_dir / "wav.scp", wavs | {"x": good, "y": good})
    assert format_well(data_dir, out)["y"] == good


def test_loud_samples_are_clipped_not_wrapped(data_dir, out, write_wav, noise):
    loud = np.stack([30 * noise(1000)] * 2, 1)
    path = write_wav("loud.wav", loud, subtype="FLOAT")
    write_two_column(data_dir / "wav.scp", {"loud": path})
    got = read_audio(format_well(data_dir, out)["loud"])
    assert np.abs(got - np.clip(loud[:, 0], -1, 1)).max() <= 1 / 32768


def test_ids_may_hold_anything_and_stay_in_the_folder(data_dir, out, write_wav):
    path = write_wav("a.wav", 500, rate=8000)
    ids = ["../../etc/x", "id1/vid/00001.wav", "..", "ünï", "x" * 400]
    write_two_column(data_dir / "wav.scp", dict.fromkeys(ids, path))
    wavs = format_well(data_dir, out)
    assert len(set(wavs.values())) == len(ids)
    for path in wavs.values():
        assert os.path.realpath(path).startswith(
            os.path.realpath(out / "audio") + os.sep
        )
        assert soundfile.info(path).frames == 1000


def test_wrong_folders_and_formats_are_refused(data_dir, out, tmp_path):
    with pytest.raises(SVError, match="is the data directory itself"):
        format_data_dir(data_dir, data_dir)
    with pytest.raises(SVError, match="audio_format is mp3; choose flac or wav"):
        format_data_dir(data_dir, out, audio_format="mp3")
    with pytest.raises(SVError, match=r"none/wav\.scp: cannot be read"):
        format_data_dir(tmp_path / "none", out)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/wav.scp").touch()
    with pytest.raises(SVError, match=r"empty/wav\.scp: lists no audio"):
        format_data_dir(tmp_path / "empty", out)
    (tmp_path / "file").touch()
    with pytest.raises(SVError, match="cannot be written"):
        format_data_dir(data_dir, tmp_path / "file" / "out")


def test_shards_and_a_last_call_give_what_one_call_gives(
    data_dir, out, tmp_path, monkeypatch
):
    monkeypatch.setattr(formatting, "_CHUNK", 1)
    whole = format_well(data_dir, tmp_path / "whole")
    for i in (3, 1, 2):
        report = format_data_dir(data_dir, out, shard=f"{i}/3")
        assert list(report.problems()) == []
        assert not (out / "wav.scp").exists()
    audio = files_below(out / "audio")

    def no_more(*args):
        raise AssertionError(f"{args} is opened again")

    monkeypatch.setattr(formatting, "open_audio", no_more)
    joined = format_well(data_dir, out)
    assert files_below(out / "audio") == audio
    assert {u: p.replace(str(out), "") for u, p in joined.items()} == {
        u: p.replace(str(tmp_path / "whole"), "") for u, p in whole.items()
    }
    for path in joined.values():
        if str(out) in path:
            twin = path.replace(str(out), str(tmp_path / "whole"))
            assert np.array_equal(read_audio(path), read_audio(twin))
    assert (out / "utt2dur").read_bytes() == (tmp_path / "whole/utt2dur").read_bytes()


def test_a_last_call_does_what_a_lost_shard_left(data_dir, out, monkeypatch):
    monkeypatch.setattr(formatting, "_CHUNK", 1)
    format_data_dir(data_dir, out, shard="1/2")
    assert list(format_well(data_dir, out)) == list(
        read_two_column(data_dir / "wav.scp")
    )


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "1", "1/0"])
def test_a_shard_that_is_none_is_refused(data_dir, out, shard):
    with pytest.raises(SVError, match="is not understood; write i/n"):
        format_data_dir(data_dir, out, shard=shard)


@pytest.mark.parametrize("shards", [0, 2])
def test_what_is_converted_and_what_is_silent_is_a_line_each(
    data_dir, out, write_wav, monkeypatch, caplog, shards
):
    monkeypatch.setattr(formatting, "_CHUNK", 1)
    silent = write_wav("silent.wav", np.zeros(4000), rate=8000)
    wavs = read_two_column(data_dir / "wav.scp")
    write_two_column(data_dir / "wav.scp", wavs | {"silent": silent})
    for i in range(shards):
        report = format_data_dir(data_dir, out, shard=f"{i + 1}/{shards}")
        assert list(report.warnings()) == []
    with caplog.at_level("INFO"):
        report = format_data_dir(data_dir, out)
    assert list(report.warnings()) == [
        f"{data_dir}/wav.scp: 1 of 5 recordings is silent, all samples are zero: silent"
    ]
    (line,) = [line for line in caplog.messages if "converted" in line]
    assert line == (
        f"{data_dir}/wav.scp: 3 of 5 recordings are converted: 8 kHz 2 (nothing above 4"
        " kHz); 1 has two channels, of which the mean is used"
    )
    caplog.clear()
    with caplog.at_level("INFO"):
        format_data_dir(data_dir, out, convert_containers=True)
    (line,) = [line for line in caplog.messages if "converted" in line]
    assert line == (
        f"{data_dir}/wav.scp: 4 of 5 recordings are converted: cut or of another format"
        " 1, by an earlier run 3"
    )


def test_truncated_files_are_named_even_where_nothing_is_converted(
    data_dir, out, write_wav
):
    path = write_wav("short.wav", 9000)
    os.truncate(path, 9000)
    write_two_column(data_dir / "wav.scp", {"short": path})
    (line,) = format_data_dir(data_dir, out).problems()
    assert f"utterance short: {path}: is truncated, 9044 bytes are missing" in line
