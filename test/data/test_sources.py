import kaldiio
import numpy as np
import pytest

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.errors import SVError


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


@pytest.mark.parametrize("write_function", ["pickle", "numpy", None])
def test_ark_entries_other_than_wav_are_refused(tmp_path, write_function):
    spec = f"ark,scp:{tmp_path}/feats.ark,{tmp_path}/feats.scp"
    with kaldiio.WriteHelper(spec, write_function=write_function) as writer:
        writer("utt", np.zeros((3, 4), np.float32))
    entry = (tmp_path / "feats.scp").read_text().split()[1]
    with pytest.raises(SVError, match=r"feats\.ark:\d+: holds no wav"):
        read_audio(entry)


def test_ark_slices_and_missing_arks_are_refused(tmp_path):
    with pytest.raises(SVError, match="slices of ark entries"):
        read_audio("a.ark:12[0:100]")
    with pytest.raises(SVError, match=r"no\.ark:12: cannot be opened"):
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
def test_a_failing_pipe_tells_its_last_words(command):
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
        ("", "is empty"),
    ]:
        with pytest.raises(SVError, match=f"{tmp_path}/{name}: {problem}"):
            read_audio(f"{tmp_path}/{name}")
