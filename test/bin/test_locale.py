"""Kaldi files, file names and output are UTF-8, also where the locale is not."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import soundfile

from espnet2_sv.bin import cli
from espnet2_sv.data.kaldi import read_two_column, write_spk2utt, write_two_column
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(1000)

SPEAKERS = {"名-é-1": "名", "名-é-2": "名", "Ω-1": "Ω", "Ω-2": "Ω"}


def command(name, *options, **kwargs):
    env = os.environ | {"PYTHONUTF8": "0", "LC_ALL": "C", "PLAIN_PYTHON": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"espnet2_sv.bin.{name}", *map(str, options)],
        env=env,
        capture_output=True,
        timeout=300,
        **kwargs,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory, an4):
    """A data directory with names of three alphabets."""
    folder = tmp_path_factory.mktemp("été") / "данные"
    (folder / "ñ").mkdir(parents=True)
    wavs = {}
    for utt, source in zip(SPEAKERS, an4.values(), strict=False):
        wavs[utt] = str(folder / "ñ" / f"{utt}.flac")
        soundfile.write(wavs[utt], *soundfile.read(source))
    write_two_column(folder / "wav.scp", wavs)
    write_two_column(folder / "utt2spk", SPEAKERS)
    members = {}
    for utt, speaker in SPEAKERS.items():
        members.setdefault(speaker, []).append(utt)
    write_spk2utt(folder / "spk2utt", members)
    (folder / "trials").write_text("名-é-1 名-é-2 target\n名-é-1 Ω-1 nontarget\n")
    return folder


def test_data_are_checked_and_formatted(data, tmp_path):
    done = command("sv_check_data", data, "--trials", data / "trials", "--train", 1)
    assert done.returncode == 0, done.stderr.decode()
    out = tmp_path / "готово"
    done = command("sv_format_wav", "--data_dir", data, "--output_dir", out)
    assert done.returncode == 0, done.stderr.decode()
    assert read_two_column(out / "wav.scp") == read_two_column(data / "wav.scp")
    rate = command(
        *("sv_format_wav", "--data_dir", data, "--output_dir", tmp_path / "é8"),
        *("--sample_rate", 8000, "--nj", 2),
    )
    assert rate.returncode == 0, rate.stderr.decode()
    converted = read_two_column(tmp_path / "é8/wav.scp")
    assert list(converted) == sorted(SPEAKERS)
    assert all(soundfile.info(path).samplerate == 8000 for path in converted.values())


def test_problems_are_printed(data, tmp_path):
    folder = tmp_path / "данные"
    shutil.copytree(data, folder)
    (folder / "utt2spk").write_text("名-é-1 名\n")
    done = command("sv_check_data", folder, "--check_audio", "none")
    assert done.returncode == 1
    assert "utterance 名-é-2 of" in done.stdout.decode()
    assert "problem(s)" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_embeddings_scores_and_verification(data, speaker_exp, tmp_path):
    model = tmp_path / "modèle"
    shutil.copytree(speaker_exp, model)
    out = tmp_path / "вектор"
    done = command(
        *("sv_embed", "--model", model, "--wav_scp", data / "wav.scp"),
        *("--output_dir", out, "--nj", 2),
    )
    assert done.returncode == 0, done.stderr.decode()
    scp = out / "xvector.scp"
    assert list(read_two_column(scp)) == sorted(SPEAKERS)
    done = command(
        *("sv_score", "--trials", data / "trials", "--enroll_scp", scp),
        *("--test_scp", scp, "--output", out / "оценки"),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "名-é-1 Ω-1 " in (out / "оценки").read_text()
    done = command(
        *("sv_metrics", "--trials", data / "trials", "--scores", out / "оценки"),
        *("--output_dir", out / "é", "--utt2spk", data / "utt2spk"),
    )
    assert done.returncode == 0, done.stderr.decode()
    wav = data / "ñ/Ω-1.flac"
    done = command("sv_verify", "--model", model, "--enroll", wav, "--test", wav)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["sv_check_data", "sv_embed", "sv_score", "sv_verify"])
def test_arguments_that_are_no_utf8_end_in_one_line(name, tmp_path):
    odd = os.fsdecode(b"\xff\xc3\xa9")
    options = {
        "sv_check_data": [odd],
        "sv_embed": ["--model", odd, "--wav_scp", odd, "--output_dir", odd],
        "sv_score": [
            *("--trials", odd, "--enroll_scp", odd, "--test_scp", odd),
            *("--output", odd),
        ],
        "sv_verify": ["--model", odd, "--enroll", odd, "--test", odd],
    }
    done = command(name, *options[name], cwd=tmp_path)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert "error: " in done.stderr.decode()


def test_an_error_is_one_visible_line():
    line = cli.describe_error(SVError("x\x1b[31m: \ufeffutt is\nbad"))
    assert line == "x\\x1b[31m: \\ufeffutt is bad"
    try:
        "a\udcff".encode()
    except UnicodeEncodeError as e:
        assert cli.describe_error(e) == "'a\\udcff' is not UTF-8; rename it"


def test_the_locale_is_left_alone_where_it_is_utf8(monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("starts again"))
    cli.use_utf8()
