import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from fotaq.archive import QueenArchive
from fotaq.audio import Recording, extract_clips, join_short
from fotaq.clips import list_clips

from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(200)


def extract(queen, outdir, some=slice(0, 12), rate=16000, nj=1):
    archive = QueenArchive(queen.path)
    clips = list_clips(archive)[some]
    return clips, extract_clips(archive, clips, outdir, rate, nj)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_clips_are_decoded_and_resampled(queen, tmp_path, rate):
    clips, recordings = extract(queen, tmp_path / "clips", rate=rate)
    assert list(recordings) == [clip.utt for clip in clips]
    for clip in clips:
        path, seconds = recordings[clip.utt]
        assert Path(path) == tmp_path / "clips" / clip.character / f"{clip.utt}.flac"
        samples, found = soundfile.read(path)
        source, source_rate = soundfile.read(io.BytesIO(queen.entries[clip.entry]))
        expected = soxr.resample(source, source_rate, rate)
        assert found == rate
        assert seconds == len(samples) / rate
        assert seconds == pytest.approx(
            queen.seconds[clip.entry], abs=0.2
        )  # mp3 has frames
        np.testing.assert_allclose(samples, expected, atol=2e-4)


def test_a_second_call_writes_nothing_and_processes_agree(queen, tmp_path):
    _, first = extract(queen, tmp_path / "a", some=slice(0, 300))
    files = sorted((tmp_path / "a").rglob("*.flac"))
    times = [path.stat().st_mtime_ns for path in files]
    assert len(files) == 300
    assert extract(queen, tmp_path / "a", some=slice(0, 300), nj=2)[1] == first
    assert [path.stat().st_mtime_ns for path in files] == times
    os.unlink(files[7])  # as if killed before it was written
    assert extract(queen, tmp_path / "a", some=slice(0, 300))[1] == first


def test_another_archive_or_rate_leaves_nothing_of_the_first(
    queen, own_queen, tmp_path
):
    extract(queen, tmp_path / "a", some=slice(0, 12))
    own_queen.entries["MORE.PCX"] = b"other"
    for source, rate in ((own_queen.write(), 16000), (own_queen, 8000)):
        clips, recordings = extract(source, tmp_path / "a", some=slice(3, 6), rate=rate)
        left = {path.stem for path in (tmp_path / "a").rglob("*.flac")}
        assert left == recordings.keys() == {clip.utt for clip in clips}
        assert {soundfile.info(path).samplerate for path, _ in recordings.values()} == {
            rate
        }


def test_damaged_clips_are_named(queen, own_queen, tmp_path):
    clips, _ = extract(queen, tmp_path / "a")
    whole = max((clip.entry for clip in clips), key=queen.seconds.get)
    mp3 = queen.entries[whole]
    hole = mp3[:500] + bytes(900) + mp3[1400:]
    for content, message in ((b"x" * 900, "cannot be decoded"), (hole, "is damaged, ")):
        own_queen.entries[whole] = content
        own_queen.write()
        with pytest.raises(
            SVError, match=rf"queen.1c: clip {whole} {message}.*fetch the archive"
        ):
            extract(own_queen, tmp_path / "b")
        assert not list((tmp_path / "b").rglob(f"*{whole.removesuffix('.SB')}*"))


@pytest.fixture
def recordings(tmp_path):
    """Recordings of given seconds, each of one value, in tenths."""

    def make(*seconds):
        made = {}
        for i, length in enumerate(seconds):
            path = tmp_path / f"r{i}.flac"
            soundfile.write(path, np.full(round(16000 * length), i / 10), 16000)
            made[f"r{i}"] = Recording(str(path), length)
        return made

    return make


def test_short_recordings_are_joined_with_the_next_short_ones(recordings, tmp_path):
    parts = recordings(1.0, 2.5, 0.5, 0.75, 2.0, 1.5, 0.5, 1.0)
    kept, members = join_short(parts, tmp_path / "joined", 2.0)
    assert members == {
        "r0-x3": ["r0", "r2", "r3"],
        "r1": ["r1"],
        "r4": ["r4"],
        "r5-x2": ["r5", "r6"],
    }
    assert kept["r1"] == parts["r1"]
    assert {name: r.seconds for name, r in kept.items()} == {
        "r0-x3": 2.25,
        "r1": 2.5,
        "r4": 2.0,
        "r5-x2": 2.0,
    }
    samples, _ = soundfile.read(kept["r0-x3"].path)
    expected = np.repeat([0.0, 0.2, 0.3], [16000, 8000, 12000])
    np.testing.assert_allclose(samples, expected, atol=1e-4)
    before = os.stat(kept["r0-x3"].path).st_mtime_ns
    assert join_short(parts, tmp_path / "joined", 2.0) == (kept, members)
    assert os.stat(kept["r0-x3"].path).st_mtime_ns == before


def test_too_short_a_rest_is_left_out(recordings, tmp_path):
    kept, members = join_short(recordings(0.5, 0.5), tmp_path / "joined", 2.0)
    assert kept == members == {}
