import pytest

from espnet2_sv.data.truncation import missing_bytes


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_written_while_streaming_promises_nothing(write_wav, tmp_path, length):
    path = write_wav("a.wav", 1000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = length.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert missing_bytes(path) == 0
    content[place : place + 4] = (3000).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert missing_bytes(path) == 1000


@pytest.mark.parametrize("faststart", [False, True])
def test_every_cut_of_an_m4a_shows(write_m4a, noise, tmp_path, faststart):
    path = write_m4a("a.m4a", noise(30000), faststart=faststart)
    content = (tmp_path / "a.m4a").read_bytes()
    assert missing_bytes(path) == 0
    for part in (0.3, 0.7, 0.95):
        cut = tmp_path / "cut.m4a"
        cut.write_bytes(content[: int(len(content) * part)])
        assert missing_bytes(str(cut)) > 0


def test_other_formats_promise_nothing(write_wav, tmp_path):
    path = write_wav("a.flac", 3000)
    assert missing_bytes(path) == 0
    (tmp_path / "short").write_bytes(b"RIF")
    assert missing_bytes(str(tmp_path / "short")) == 0
