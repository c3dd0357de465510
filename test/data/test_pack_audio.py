import os

import numpy as np
import pytest
import soundfile
from kaldi_reference import kaldiio

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.kaldi import read_two_column, write_two_column
from espnet2_sv.data.pack_audio import pack_audio
from espnet2_sv.errors import SVError
from espnet2_sv.textfile import read_bytes


@pytest.fixture
def data_dir(tmp_path, write_wav, write_m4a, noise):
    """Twelve recordings of about 32 kB in three formats, with a speaker for each."""
    wavs = {}
    for i in range(12):
        name, samples = f"u{i:02d}", noise(16000 + i, seed=i)
        wavs[name] = [
            lambda n, x: write_wav(f"{n}.wav", x, subtype="PCM_16"),
            lambda n, x: write_wav(f"{n}.flac", x, subtype="PCM_16"),
            lambda n, x: write_m4a(f"{n}.m4a", x),
        ][i % 3](name, samples)
    folder = tmp_path / "data"
    write_two_column(folder / "wav.scp", wavs)
    write_two_column(folder / "utt2spk", dict.fromkeys(wavs, "amy"))
    return folder


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("shuffle", [False, True])
def test_packed_audio_reads_the_same(data_dir, tmp_path, shuffle):
    out = tmp_path / "packed"
    arks = pack_audio(data_dir, out, shard_bytes=60_000, shuffle=shuffle)
    assert arks == len(list(out.glob("*.ark"))) > 3
    before, after = (
        read_two_column(data_dir / "wav.scp"),
        read_two_column(out / "wav.scp"),
    )
    assert list(after) == list(before)
    for utt, entry in after.items():
        assert audio_info(entry) == audio_info(before[utt])
        assert np.array_equal(read_audio(entry), read_audio(before[utt]))
        part = read_audio(entry, start=0.3, duration=0.2)
        assert np.array_equal(part, read_audio(before[utt], start=0.3, duration=0.2))
    assert (out / "utt2spk").read_bytes() == (data_dir / "utt2spk").read_bytes()
    lists = [read_two_column(path) for path in out.glob("audio.*.scp")]
    assert sorted(utt for entries in lists for utt in entries) == sorted(before)
    neighbours = "".join("".join(sorted(entries)) for entries in sorted(lists, key=min))
    assert (neighbours == "".join(before)) != shuffle


def test_kaldiio_reads_the_arks(data_dir, tmp_path):
    pack_audio(data_dir, tmp_path / "packed")
    after = read_two_column(tmp_path / "packed/wav.scp")
    for utt, path in read_two_column(data_dir / "wav.scp").items():
        if not path.endswith("m4a"):
            rate, samples = kaldiio.load_mat(after[utt])
            assert rate == 16000
            assert np.array_equal(samples, soundfile.read(path)[0])


def test_an_ark_closes_when_it_has_reached_its_size(data_dir, tmp_path):
    pack_audio(data_dir, tmp_path / "packed", shard_bytes=60_000)
    sizes = [path.stat().st_size for path in (tmp_path / "packed").glob("*.ark")]
    assert sum(size < 60_000 for size in sizes) <= 1
    assert max(sizes) < 60_000 + 40_000


def test_packing_that_was_killed_goes_on_and_keeps_what_is_finished(
    data_dir, tmp_path, monkeypatch
):
    whole, out = tmp_path / "whole" / "packed", tmp_path / "packed"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    pack_audio(data_dir, "packed", shard_bytes=60_000)
    monkeypatch.chdir(tmp_path)

    read, count = read_bytes, [0]

    def killed(path):
        count[0] += 1
        if count[0] == 6:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr("espnet2_sv.data.pack_audio.read_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        pack_audio(data_dir, "packed", shard_bytes=60_000)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert not (out / "wav.scp").exists()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.ark")}
    assert finished
    (out / ".audio.9.ark.17.part").write_bytes(b"what kill -9 leaves")
    pack_audio(data_dir, "packed", shard_bytes=60_000)
    assert snapshot(out) == snapshot(whole)
    for path, changed in finished.items():
        assert path.stat().st_mtime_ns == changed


def test_a_changed_recording_is_packed_again(data_dir, tmp_path, noise):
    out = tmp_path / "packed"
    pack_audio(data_dir, out, shard_bytes=60_000)
    first = (out / "audio.1.ark").stat().st_mtime_ns
    path = read_two_column(data_dir / "wav.scp")["u09"]
    soundfile.write(path, noise(16009, seed=99), 16000)
    os.utime(path, (4e9, 4e9))  # same size, changed later
    pack_audio(data_dir, out, shard_bytes=60_000)
    assert np.array_equal(
        read_audio(read_two_column(out / "wav.scp")["u09"]), read_audio(path)
    )
    assert (out / "audio.1.ark").stat().st_mtime_ns == first


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("/gone/a.wav", r"utterance bad: /gone/a\.wav: cannot be read"),
        ("cat x |", "utterance bad: .*is not a file; .*sv_format_wav"),
        ("x.ark:17", "utterance bad: .*arks stay as they are"),
        ("/", "utterance bad: /: is empty, too large or not a file"),
    ],
)
def test_what_cannot_be_packed_is_named_and_nothing_written(
    data_dir, tmp_path, entry, message
):
    with open(data_dir / "wav.scp", "a") as f:
        f.write(f"bad {entry}\n")
    with pytest.raises(SVError, match=message):
        pack_audio(data_dir, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_segments_the_folder_itself_and_no_size_are_refused(data_dir, tmp_path):
    with pytest.raises(SVError, match="the data directory itself"):
        pack_audio(data_dir, data_dir)
    with pytest.raises(SVError, match="shard_bytes is 0"):
        pack_audio(data_dir, tmp_path / "packed", shard_bytes=0)
    (data_dir / "segments").write_text("a b 0 1\n")
    with pytest.raises(SVError, match="has segments"):
        pack_audio(data_dir, tmp_path / "packed")
