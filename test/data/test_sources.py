import os
from pathlib import Path

import numpy as np
import pytest
from kaldi_reference import kaldiio, needs_kaldiio

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.sources import _Slice
from espnet2_sv.errors import SVError


@needs_kaldiio
@pytest.mark.parametrize("write_function", [None, "soundfile"])
def test_ark_entries_are_read_at_their_offsets(tmp_path, write_function):
    rng = np.random.default_rng(0)
    wavs = {f"utt{i}": rng.integers(-9999, 9999, 500 + i, np.int16) for i in range(3)}
    spec = f"ark,scp:{tmp_path}/wav.ark,{tmp_path}/wav.scp"
    with kaldiio.WriteHelper(spec, write_function=write_function) as writer:
        for utt, samples in wavs.items():
            writer(utt, (8000, samples))
    for line in (tmp_path / "wav.scp").read_text().splitlines():
        utt, entry = line.split()
        assert audio_info(entry) == (len(wavs[utt]), 8000, 1)
        assert np.array_equal(read_audio(entry, 8000) * 32768, wavs[utt])
        part = read_audio(entry, 8000, start=0.01, duration=0.02)
        assert np.array_equal(part * 32768, wavs[utt][80:240])


@pytest.fixture
def in_ark(tmp_path):
    """Return a function that writes files to an ark as kaldiio's AUDIO records."""

    def write(*paths):
        entries = []
        with open(tmp_path / "audio.ark", "wb") as ark:
            for path in paths:
                content = Path(path).read_bytes()
                ark.write(b"utt ")
                entries.append(f"{tmp_path}/audio.ark:{ark.tell()}")
                ark.write(b"AUDIO\4" + len(content).to_bytes(4, "little") + content)
        return entries

    return write


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a"])
def test_files_in_an_ark_are_read_as_they_are_outside(
    write_wav, write_m4a, noise, in_ark, name
):
    path = (write_m4a if name.endswith("m4a") else write_wav)(name, noise(48000))
    before, entry, after = in_ark(path, path, path)
    assert audio_info(entry) == audio_info(path)
    for start, duration in ((0, None), (0.7, 1.1), (2.9, 0.1)):
        expected = read_audio(path, start=start, duration=duration)
        for spec in (before, entry, after):
            assert np.array_equal(
                read_audio(spec, start=start, duration=duration), expected
            )


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_part_of_an_ark_entry_reads_no_more_than_it_needs(
    write_wav, noise, in_ark, name, monkeypatch
):
    """Half a second in 60 s: of the file, not more than a twentieth is touched."""
    path = write_wav(name, noise(960000), subtype="PCM_16")
    _, entry = in_ark(path, path)
    touched = []
    readinto, pread = _Slice.readinto, os.pread

    def count(self, buffer):
        touched.append(readinto(self, buffer))
        return touched[-1]

    def count_bytes(fd, size, offset):
        data = pread(fd, size, offset)
        touched.append(len(data))
        return data

    monkeypatch.setattr(_Slice, "readinto", count)
    monkeypatch.setattr(os, "pread", count_bytes)
    part = read_audio(entry, start=40.0, duration=0.5)
    assert len(part) == 8000
    assert 8000 < sum(touched) < Path(path).stat().st_size / 20


def test_a_truncated_m4a_in_an_ark_is_named(write_m4a, noise, in_ark, tmp_path):
    path = Path(write_m4a("a.m4a", noise(64000)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (entry,) = in_ark(path)
    with pytest.raises(SVError, match=r"audio\.ark:4: "):
        read_audio(entry)


@needs_kaldiio
@pytest.mark.parametrize("write_function", ["pickle", "numpy", None])
def test_ark_entries_other_than_wav_are_refused(tmp_path, write_function):
    spec = f"ark,scp:{tmp_path}/feats.ark,{tmp_path}/feats.scp"
    with kaldiio.WriteHelper(spec, write_function=write_function) as writer:
        writer("utt", np.zeros((3, 4), np.float32))
    entry = (tmp_path / "feats.scp").read_text().split()[1]
    with pytest.raises(SVError, match=r"feats\.ark:\d+: is not audio"):
        read_audio(entry)


def test_ark_slices_and_missing_arks_are_refused(tmp_path):
    with pytest.raises(SVError, match="slices of ark entries"):
        read_audio("a.ark:12[0:100]")
    with pytest.raises(SVError, match=r"no\.ark:12: no such audio file"):
        read_audio(f"{tmp_path}/no.ark:12")


def test_pipes_run_only_where_allowed(write_wav, tmp_path):
    path = write_wav("a.wav", 4000)
    spec = f"touch {tmp_path}/ran; cat {path} |"
    with pytest.raises(SVError, match="--allow_pipes"):
        read_audio(spec)
    assert not (tmp_path / "ran").exists()
    assert np.array_equal(read_audio(spec, allow_pipes=True), read_audio(path))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", ["echo broken >&2; exit 3 |", "echo broken >&2 |"])
def test_a_failing_pipe_is_reported_with_its_last_words(command):
    with pytest.raises(SVError, match=r"command failed with status \d: broken"):
        read_audio(command, allow_pipes=True)


def test_a_pipe_with_something_else_than_audio_is_refused():
    with pytest.raises(SVError, match="is not audio in a known format"):
        read_audio("echo hello |", allow_pipes=True)


def test_missing_empty_and_strange_files_are_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio\n" * 100)
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    for name, problem in [
        ("none.wav", "no such audio file"),
        ("empty.wav", "is empty"),
        ("text.wav", "is not audio in a known format"),
        ("x.raw", "(is not audio in a known format|has no audio stream)"),
        ("", "is a folder"),
    ]:
        with pytest.raises(SVError, match=f"{tmp_path}/{name}: {problem}"):
            read_audio(f"{tmp_path}/{name}")
