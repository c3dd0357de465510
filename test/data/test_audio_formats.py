"""Every format that libsndfile or PyAV decodes can be read by every command."""

import numpy as np
import odd_audio
import pytest
from odd_audio import BY_NAME, FURTHER, HEADERLESS, RATE, SECONDS, UNSEEKABLE

from espnet2_sv.data.audio import audio_info, read_audio
from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.dataset import TrainDataset
from espnet2_sv.data.formatting import format_data_dir
from espnet2_sv.data.kaldi import read_two_column, write_two_column
from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.data.pack_audio import pack_audio
from espnet2_sv.data.segments import Utterances
from espnet2_sv.data.sources import open_audio
from espnet2_sv.errors import SVError
from espnet2_sv.inference.reading import batches_by_length, reader, reading_pool

pytestmark = pytest.mark.execution_timeout(600)

FORMATS = FURTHER | UNSEEKABLE
PADDED = 0.15  # seconds that codecs add


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A recording of each format, and a segment of each."""
    folder = tmp_path_factory.mktemp("formats")
    paths = {
        name: odd_audio.write(folder / "audio", name, make())
        for name, make in FORMATS.items()
    }
    write_two_column(folder / "data/wav.scp", paths)
    write_two_column(folder / "cut/wav.scp", paths)
    segments = {f"{name}-1": f"{name} 0.5 1.25" for name in paths}
    write_two_column(folder / "cut/segments", segments)
    return folder / "data"


def formatted(data_dir, name, **options):
    """Format a folder; return its recordings."""
    out = data_dir.parent / name
    report = format_data_dir(data_dir, out, RATE, **options)
    assert list(report.problems()) == []
    return read_two_column(out / "wav.scp")


@pytest.mark.parametrize("audio", ["header", "full"])
def test_the_check_finds_nothing_wrong(data_dir, audio, tmp_path):
    for folder in (data_dir, data_dir.parent / "cut"):
        report = check_data_dir(folder, audio=audio, utt2dur=tmp_path / "utt2dur")
        assert list(report.problems()) == []
    for seconds in read_two_column(tmp_path / "utt2dur").values():
        assert float(seconds) == pytest.approx(SECONDS, abs=PADDED)


@pytest.mark.parametrize("name", FORMATS)
def test_training_and_embedding_read_what_is_there(data_dir, name):
    path = read_two_column(data_dir / "wav.scp")[name]
    whole = read_audio(path, RATE)
    assert len(whole) / RATE == pytest.approx(SECONDS, abs=PADDED)
    assert np.array_equal(reader(RATE, False)(path), whole)
    dataset = TrainDataset(
        {"u": path},
        {"u": "s"},
        SpeakerLabels(["s"]),
        sample_rate=RATE,
        crop_seconds=0.5,
    )
    for position in range(3):
        crop = dataset[0, 1, position][1]["speech"]
        places = np.lib.stride_tricks.sliding_window_view(whole, len(crop))
        assert any(is_close(crop, place) for place in _likely(places, crop))


def is_close(part: np.ndarray, expected: np.ndarray) -> bool:
    """Whether noise is the same; a codec's state and dither may differ after a seek."""
    return np.std(part - expected) < 0.2 * np.std(expected)


def _likely(places: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Return the places whose first samples are nearest to those of the crop."""
    distance = np.abs(places[:, :50] - crop[:50]).mean(axis=1)
    return places[np.argsort(distance)[:5]]


def test_embedding_groups_them_by_length(data_dir):
    wavs = list(read_two_column(data_dir / "wav.scp").items())
    with reading_pool(2) as pool:
        batches = batches_by_length(wavs, 30.0, pool)
    assert max(map(len, batches)) > 9  # a recording of unknown length would be alone


def test_formatted_audio_is_that_of_its_source(data_dir):
    sources = read_two_column(data_dir / "wav.scp")
    for name, path in formatted(data_dir, "all", convert_containers=True).items():
        assert audio_info(path)[1:] == (RATE, 1)
        expected = np.clip(read_audio(sources[name]), -1, 1)
        assert np.abs(read_audio(path) - expected).max() <= 1 / 32768, name


def test_segments_are_those_of_the_whole(data_dir):
    cut = data_dir.parent / "cut"
    pieces = Utterances(cut)
    paths = formatted(cut, "pieces")
    for i in range(len(pieces)):
        piece = pieces[i]
        whole = np.clip(read_audio(piece.spec, RATE), -1, 1)
        part = read_audio(paths[piece.utt])
        assert len(part) == 0.75 * RATE
        expected = whole[RATE // 2 : RATE // 2 + len(part)]
        assert is_close(part, expected), piece


def test_an_ark_has_the_same_recordings(data_dir, tmp_path):
    wavs = read_two_column(data_dir / "wav.scp")
    plain = {name: path for name, path in wavs.items() if name not in BY_NAME}
    write_two_column(tmp_path / "plain/wav.scp", plain)
    pack_audio(tmp_path / "plain", tmp_path / "packed")
    for name, entry in read_two_column(tmp_path / "packed/wav.scp").items():
        assert audio_info(entry) == audio_info(wavs[name])
        assert np.array_equal(read_audio(entry), read_audio(wavs[name])), name


@pytest.mark.parametrize("name", BY_NAME)
def test_what_an_ark_would_make_unreadable_is_not_packed(data_dir, tmp_path, name):
    path = read_two_column(data_dir / "wav.scp")[name]
    write_two_column(tmp_path / "data/wav.scp", {"u": path})
    with pytest.raises(SVError, match=rf"/{name}: its name alone tells its format"):
        pack_audio(tmp_path / "data", tmp_path / "packed")
    converted = formatted(tmp_path / "data", "out", convert_containers=True)
    assert audio_info(converted["u"])[1:] == (RATE, 1)
    pack_audio(tmp_path / "out", tmp_path / "packed")


@pytest.mark.parametrize("name", HEADERLESS)
def test_samples_without_a_rate_are_refused(tmp_path, name):
    path = odd_audio.write(tmp_path, name, HEADERLESS[name]())
    with pytest.raises(SVError, match=rf"/{name}: (has no header that|is not audio)"):
        read_audio(path)


@pytest.mark.parametrize("wideband", [False, True])
def test_pauses_of_amr_are_silence_of_their_length(tmp_path, wideband):
    path = odd_audio.write(tmp_path, "a.amr", odd_audio.amr(wideband))
    with open_audio(path) as source:
        frames = source.read(0, source.frames).reshape(50 * SECONDS, -1)
    silent = np.abs(frames).max(axis=1) == 0
    assert silent.tolist() == [i % 30 >= 25 for i in range(len(frames))]


@pytest.mark.parametrize("start", [4000, 20_000, 61_000])
@pytest.mark.parametrize("name", ["opus.mka", "opus.mp4", "mp3.mkv", "video.webm"])
def test_a_section_after_a_seek_is_in_its_place(data_dir, name, start):
    path = read_two_column(data_dir / "wav.scp")[name]
    with open_audio(path) as source:
        start = start * source.rate // 48_000
        whole, part = source.read(0, source.frames), source.read(start, start + 3000)
    assert is_close(part, whole[start : start + 3000])
