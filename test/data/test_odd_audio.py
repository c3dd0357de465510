"""Every way to read audio accepts a recording with one length, or refuses it."""

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import odd_audio
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_audio import CONTAINERS, RATE, UNKNOWN_LENGTH, UNSEEKABLE, encode

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.check_audio import check_audio
from espnet2_sv.data.dataset import TrainDataset
from espnet2_sv.data.formatting import format_data_dir
from espnet2_sv.data.kaldi import KaldiTable, read_two_column
from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.data.sources import open_audio
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(600)

WHOLE = CONTAINERS | UNSEEKABLE | UNKNOWN_LENGTH
# formats whose decoders add the padding of the codec
PADDED = 0.15  # seconds
# containers that declare a length with this padding, and decode to one without
DECLARED = {"a.mka", "a.webm", "a.m4a"}
CUT = [name for name in CONTAINERS if name != "a.mp3"]


def lengths(spec: str, folder: Path, channel: int | None = None) -> dict[str, float]:
    """Read an entry in every way; return the seconds, or raise what all raise.

    ``sv_embed``, ``sv_joint`` and ``sv_verify`` read with ``read_audio``.
    """
    found: dict[str, float | SVError] = {}
    for level in ("header", "full"):
        report = ValidationReport()
        table = KaldiTable.from_dict({"u": spec}, "wav.scp")
        seconds = check_audio(table, level, True, 1, RATE, report)
        found[level] = seconds.get("u", SVError("\n".join(report.problems())))
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "wav.scp").write_text(f"u {spec}\n")
    report = format_data_dir(data, folder / "out", RATE, allow_pipes=True)
    if report.num_problems:
        found["formatted"] = SVError("\n".join(report.problems()))
    else:
        found["formatted"] = float(read_two_column(folder / "out" / "utt2dur")["u"])
        formatted = read_two_column(folder / "out" / "wav.scp")["u"]
        found["formatted file"] = len(read_audio(formatted, RATE)) / RATE
    try:
        found["read"] = len(read_audio(spec, RATE, allow_pipes=True)) / RATE
    except SVError as e:
        found["read"] = e
    if not spec.endswith("|"):
        dataset = TrainDataset(
            {"u": spec},
            {"u": "s"},
            SpeakerLabels(["s"]),
            sample_rate=RATE,
            crop_seconds=60.0,
        )
        example = dataset[0, 1, 0]
        if isinstance(example, SVError):
            found["training"] = example
        else:
            found["training"] = repeated_after(example[1]["speech"]) / RATE
    errors = [x for x in found.values() if isinstance(x, SVError)]
    if errors:
        assert len(errors) == len(found), found
        assert all("\n" not in str(e) for e in errors)
        raise errors[0]
    return found


def repeated_after(crop: np.ndarray) -> int:
    """Return the period of a short recording that was repeated to fill a crop."""
    starts = np.flatnonzero((crop[1:-2] == crop[0]) & (crop[2:-1] == crop[1])) + 1
    return next(int(n) for n in starts if np.array_equal(crop[n:], crop[:-n]))


@pytest.mark.parametrize("name", WHOLE)
def test_whole_recordings_have_one_length(name, tmp_path):
    path = odd_audio.write(tmp_path, name, WHOLE[name]())
    found = lengths(path, tmp_path)
    tolerance = PADDED if name in DECLARED else 0.002
    assert max(found.values()) - min(found.values()) <= tolerance, found
    assert found["read"] == pytest.approx(odd_audio.SECONDS, abs=PADDED)


@pytest.mark.parametrize("name", WHOLE)
def test_a_crop_is_that_of_the_whole(name, tmp_path):
    path = odd_audio.write(tmp_path, name, WHOLE[name]())
    with open_audio(path) as source:
        whole = source.read(0, source.frames)
        for start, stop in (
            (20_000 * source.rate // RATE, source.frames),
            (5000, 9000),
        ):
            part = source.read(start, stop)
            expected = whole[start:stop]
            # after a seek lossy codecs may differ a little; Opus needs 80 ms of preroll
            tolerance = 0.05 if name in ("a.webm", "a.opus") else 0.01
            assert np.abs(part[: len(expected)] - expected).max() < tolerance


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("part", [0.4, 0.9])
def test_cut_recordings_are_refused(name, part, tmp_path):
    content = CONTAINERS[name]()
    path = odd_audio.write(tmp_path, name, content[: int(part * len(content))])
    with pytest.raises(SVError, match=r"trunc|cannot be decoded|known format|damaged"):
        lengths(path, tmp_path)


def test_vorbis_need_not_mark_its_end(tmp_path):
    content = CONTAINERS["a.ogg"]()
    path = odd_audio.write(tmp_path, "a.ogg", odd_audio.without_end_of_stream(content))
    marked = odd_audio.write(tmp_path / "marked", "a.ogg", content)
    assert lengths(path, tmp_path) == lengths(marked, tmp_path / "marked")


def test_opus_must_mark_its_end(tmp_path):
    content = odd_audio.without_end_of_stream(CONTAINERS["a.opus"]())
    path = odd_audio.write(tmp_path, "a.opus", content)
    with pytest.raises(SVError, match="does not end the stream"):
        lengths(path, tmp_path)


def test_a_cut_mp3_is_refused(tmp_path):
    content = encode(form="MP3")
    path = odd_audio.write(tmp_path, "a.mp3", content[: len(content) // 2])
    with pytest.raises(SVError, match=r"a\.mp3: is truncated, \d+ bytes are missing"):
        lengths(path, tmp_path)


@pytest.mark.parametrize("name", ["pcm.wav", "float.wav", "a.flac", "a.ogg", "a.sph"])
def test_cut_records_and_pipes_are_refused(name, tmp_path):
    content = CONTAINERS[name]()
    path = odd_audio.write(tmp_path, name, content[: len(content) * 2 // 3])
    with pytest.raises(SVError, match=r"\|: is truncated"):
        lengths(f"cat {path} |", tmp_path)
    size = len(content).to_bytes(4, "little")
    record = b"u AUDIO\4" + size + content
    whole = odd_audio.write(tmp_path, "whole.ark", record + b"v AUDIO\4")
    assert lengths(f"{whole}:2", tmp_path / "whole")["read"] == pytest.approx(
        2, abs=0.1
    )
    cut = odd_audio.write(tmp_path, "cut.ark", record[: len(record) * 2 // 3])
    with pytest.raises(SVError, match=r"cut\.ark:2: is truncated"):
        lengths(f"{cut}:2", tmp_path)
    inside = record[: len(record) * 2 // 3] + record
    inside = odd_audio.write(tmp_path, "inside.ark", inside)
    if name.endswith("wav"):  # the second record is where samples were promised
        with pytest.raises(SVError, match=r"inside\.ark:\d+: "):
            read_audio(f"{inside}:{len(record) * 2 // 3 + 1}")


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW"])
def test_a_streamed_wav_in_an_ark_never_takes_in_the_next(length, subtype, tmp_path):
    first = odd_audio.streamed(encode(subtype=subtype), length)
    second = encode(odd_audio.speech(1), subtype=subtype)
    offset = 2 + len(first) + 2
    ark = odd_audio.write(tmp_path, "two.ark", b"a " + first + b"b " + second)
    with pytest.raises(SVError, match=r"two\.ark:2: .*another record follows"):
        lengths(f"{ark}:2", tmp_path / "first")
    assert lengths(f"{ark}:{offset}", tmp_path / "second")["read"] == 1
    alone = odd_audio.write(tmp_path, "one.ark", b"a " + first)
    assert lengths(f"{alone}:2", tmp_path / "alone")["read"] == 2


@pytest.mark.parametrize("known", [b"RIFF", b"data"])
def test_one_length_in_a_header_is_enough_in_an_ark(known, tmp_path):
    wav, other = encode(), encode(odd_audio.speech(1))
    unknown = b"data" if known == b"RIFF" else b"RIFF"
    first = odd_audio.set_size(wav, 0xFFFFFFFF, unknown)
    ark = odd_audio.write(tmp_path, "two.ark", b"a " + first + b"b " + other)
    expected = read_audio(odd_audio.write(tmp_path, "a.wav", wav))
    assert np.array_equal(read_audio(f"{ark}:2"), expected)


@pytest.mark.parametrize("rate", [1, 500, 2_000_000, 100_000_000])
def test_impossible_sampling_rates_are_refused(rate, tmp_path):
    path = odd_audio.write(tmp_path, "a.wav", odd_audio.set_rate(encode(), rate))
    with pytest.raises(SVError, match=f"a.wav: declares a sampling rate of {rate} Hz"):
        lengths(path, tmp_path)


@pytest.mark.parametrize(
    "offset", ["-1", "1000000000", str(2**63 - 1), str(2**63), str(2**64), "9" * 60]
)
def test_impossible_offsets_are_refused(offset, tmp_path):
    path = odd_audio.write(tmp_path, "a.ark", b"u " + encode())
    with pytest.raises(SVError, match=r"the offset is outside of the file"):
        lengths(f"{path}:{offset}", tmp_path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    os.mkfifo(tmp_path / "fifo.ark")
    (tmp_path / "folder.flac").mkdir()
    for spec, reason in [
        (tmp_path / "fifo.wav", "is no regular file"),
        (f"{tmp_path}/fifo.ark:0", "is no regular file"),
        ("/dev/zero", "is no regular file"),
        ("/dev/null", "is no regular file"),
        (tmp_path / "folder.flac", "is a folder"),
        (f"{tmp_path}.ark:7", "no such audio file"),
        ("a\0b.wav", "has a NUL character"),
        ("a\0b.ark:3", "has a NUL character"),
        (f"{tmp_path}/{'x' * 5000}.wav", "cannot be opened"),
    ]:
        with pytest.raises(SVError, match=reason):
            read_audio(spec)


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = odd_audio.write(tmp_path, "a.wav", encode())
    opened = os.open

    def denied(name, *args, **kwargs):
        if str(name) == path:
            raise PermissionError(13, "Permission denied", path)
        return opened(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(io, "open", denied)
    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(SVError, match=r"a\.wav: cannot be opened \(Permission denied"):
        read_audio(path)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "PCM_16"), ("OGG", "OPUS")])
def test_channels_that_cancel_are_named_and_one_can_be_chosen(form, subtype, tmp_path):
    x = odd_audio.speech()
    content = encode(np.stack([x, -x], 1), form, subtype)
    path = odd_audio.write(tmp_path, f"a.{form.lower()}", content)
    with pytest.raises(SVError, match=r"channels cancel each other.*--channel"):
        read_audio(path)
    second = read_audio(path, channel=2)
    assert np.corrcoef(second, -x)[0, 1] > 0.9
    with pytest.raises(SVError, match="has 2 channels; choose one from 1 to 2, not 3"):
        read_audio(path, channel=3)
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text(f"u {path}\n")
    (problem,) = format_data_dir(data, tmp_path / "out").problems()
    assert "utterance u: " in problem and "cancel" in problem
    assert not format_data_dir(data, tmp_path / "out", channel=2).num_problems
    formatted = read_two_column(tmp_path / "out" / "wav.scp")["u"]
    assert np.abs(read_audio(formatted) - second).max() < 1e-4


def test_another_channel_of_mono_is_refused(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    path = odd_audio.write(tmp_path, "a.wav", encode())
    (data / "wav.scp").write_text(f"u {path}\n")
    (problem,) = format_data_dir(data, tmp_path / "out", channel=2).problems()
    assert "has 1 channel" in problem
    assert not format_data_dir(data, tmp_path / "out", channel=1).num_problems


SMALL = {
    name: make()
    for name, make in WHOLE.items()
    if name not in ("cover.mp3", "cover_and_header.mp3", "tag.mp3")
}


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(SMALL)),
    changes=st.lists(
        st.tuples(st.integers(0, 400) | st.integers(0, 10**6), st.integers(0, 255)),
        max_size=8,
    ),
    cut=st.none() | st.integers(0, 10**6),
    place=st.sampled_from(["file", "ark", "pipe"]),
)
def test_damaged_recordings_raise_nothing_else(
    name, changes, cut, place, tmp_path_factory
):
    content = bytearray(SMALL[name])
    for position, value in changes:
        content[position % len(content)] = value
    if cut is not None:
        del content[cut % len(content) :]
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    spec = odd_audio.write(folder, name, bytes(content))
    if place == "ark":
        size = len(content).to_bytes(4, "little")
        spec = odd_audio.write(folder, "a.ark", b"u AUDIO\4" + size + content) + ":2"
    elif place == "pipe":
        spec = f"cat {spec} |"
    try:
        with open_audio(spec, allow_pipes=True) as source:
            assert source.frames >= 0
            source.read(0, 1000)
        samples = read_audio(spec, allow_pipes=True)
    except SVError as e:
        assert spec in str(e)
        assert "\n" not in str(e)
    else:
        assert np.isfinite(samples).all()


FORMAT = """
import sys
from espnet2_sv.bin.cli import run
from espnet2_sv.bin.{name} import main
run(main)
"""


@pytest.mark.parametrize(
    ("name", "options"),
    [("sv_format_wav", ["--sample_rate", "8000"]), ("sv_pack_audio", [])],
)
@pytest.mark.parametrize("limit", [0, 64, 5000])
def test_files_that_may_not_grow_leave_nothing(name, options, limit, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    path = odd_audio.write(tmp_path, "a.wav", encode())
    (data / "wav.scp").write_text(f"u {path}\n")
    bound = (limit, resource.RLIM_INFINITY)
    done = subprocess.run(
        [
            *[sys.executable, "-c", FORMAT.format(name=name), "--data_dir", str(data)],
            *["--output_dir", str(tmp_path / "out"), "--nj", "1", *options],
        ],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, bound),
        check=False,
    )
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "out" / "wav.scp").exists()


def test_two_that_pack_at_once_give_what_one_gives(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    lines = []
    for i in range(20):
        path = odd_audio.write(
            tmp_path, f"{i}.wav", encode(odd_audio.speech(0.1 + i / 9))
        )
        lines.append(f"u{i:02d} {path}\n")
    (data / "wav.scp").write_text("".join(lines))
    command = [sys.executable, "-m", "espnet2_sv.bin.sv_pack_audio", "--data_dir"]
    command += [str(data), "--output_dir", str(tmp_path / "out"), "--nj", "1"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    left = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert left == ["audio.1.ark", "audio.1.scp", "wav.scp"]
    for utt, spec in read_two_column(tmp_path / "out" / "wav.scp").items():
        assert np.array_equal(
            read_audio(spec),
            soundfile.read(tmp_path / f"{int(utt[1:])}.wav", dtype="float32")[0],
        )
