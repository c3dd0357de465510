import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet2_sv.bin.sv_prep_noises import main as prep_noises
from espnet2_sv.bin.sv_prep_voxceleb import main
from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.kaldi import read_spk2utt

pytestmark = pytest.mark.execution_timeout(600)

ROOT = Path(__file__).resolve().parents[2]
SETS = (
    "voxceleb2_train voxceleb2_valid voxceleb2_calib cohort voxceleb1_o voxceleb1_e"
    " voxceleb1_h"
)


# variables of db.sh with the places in a tree: by our names, and by those of ESPnet
OURS = {
    "VOXCELEB1": "voxceleb1",
    "VOXCELEB2": "voxceleb2",
    "MUSAN": "musan",
    "RIRS": "rirs",
}
ESPNET = dict.fromkeys(("VOXCELEB", "MUSAN", "RIR"), "root")


@pytest.fixture(scope="module")
def make_tree(voxceleb_tree):
    def make(root, **options):
        sizes = {
            "dev_speakers": 3,
            "test_speakers": 4,
            "seconds": (0.2, 0.6),
            "trials": 20,
        }
        return voxceleb_tree.make_tree(root, 12, **(sizes | options))

    return make


@pytest.fixture(scope="module")
def archives(make_tree, tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("archives") / "t", archives=True)


def copy_recipe(folder):
    """Copy the recipe with what it links to; return its folder."""
    ignored = shutil.ignore_patterns("data", "dump", "exp", "downloads")
    for name in ("TEMPLATE/sv1", "voxceleb/sv1"):
        source = ROOT / "egs2" / name
        shutil.copytree(source, folder / "egs2" / name, symlinks=True, ignore=ignored)
    (folder / "tools").symlink_to(ROOT / "tools")
    return folder / "egs2/voxceleb/sv1"


@pytest.fixture
def recipe(tmp_path):
    """A copy of the recipe's folder."""
    return copy_recipe(tmp_path)


@pytest.fixture(scope="module")
def finished(archives, tmp_path_factory):
    """A copy in which local/data.sh has run; not to be changed."""
    folder = copy_recipe(tmp_path_factory.mktemp("finished"))
    done = subprocess.run(**data_sh(archives, names=ESPNET), cwd=folder)
    assert done.returncode == 0, done.stdout
    return folder


def data_sh(tree, *options, names=OURS):
    command = ["local/data.sh", "--trial_lists", str(tree.trial_lists), "--nj", "2"]
    command += [
        "--valid_speakers",
        "3",
        "--calib_speakers",
        "4",
        "--valid_trials",
        "10",
    ]
    command += ["--calib_trials", "12", "--allow_incomplete", "true", *options]
    env = os.environ | {name: str(getattr(tree, at)) for name, at in names.items()}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return {"args": command, "env": env, **streams}


def content(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }


def times(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_the_commands_write_the_sets(archives, tmp_path):
    options = ["--voxceleb1", archives.voxceleb1, "--voxceleb2", archives.voxceleb2]
    options += ["--output_dir", tmp_path / "data", "--unpack_dir", tmp_path / "u"]
    options += ["--trial_lists", archives.trial_lists, "--test_lists", "o"]
    options += [
        "--valid_speakers",
        2,
        "--calib_speakers",
        2,
        "--allow_incomplete",
        "true",
    ]
    main([str(option) for option in options])
    assert len(read_spk2utt(tmp_path / "data/voxceleb2_train/spk2utt")) == 8
    assert not (tmp_path / "data/voxceleb1_e").exists()


def test_the_noise_lists_are_printed(archives, tmp_path, capsys):
    options = [
        "--musan",
        archives.musan,
        "--rirs",
        archives.rirs,
        "--output_dir",
        tmp_path / "d",
    ]
    options += [
        "--unpack_dir",
        tmp_path / "u",
        "--allow_incomplete",
        "true",
        "--rooms",
        "small",
    ]
    prep_noises([str(option) for option in options])
    assert capsys.readouterr().out.splitlines() == [
        "musan_music.scp: 4 files",
        "musan_noise.scp: 4 files",
        "musan_speech.scp: 4 files",
        "rirs.scp: 8 files",
    ]


def test_an_error_is_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "espnet2_sv.bin.sv_prep_voxceleb",
        "--voxceleb1",
        tmp_path,
    ]
    command += ["--voxceleb2", tmp_path, "--output_dir", tmp_path, "--test_lists"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr == f"error: {tmp_path}: holds neither VoxCeleb2 dev"
        " (dev/wav/idXXXXX/VIDEO/00001.*) nor its archive (vox2_dev_aac.zip or"
        " _partaa ...); set VOXCELEB2 or VOXCELEB in db.sh\n"
    )


def test_data_sh_goes_from_archives_to_sets_and_a_second_run_changes_nothing(
    finished, archives
):
    data = finished / "data"
    assert {p.name for p in data.iterdir() if p.is_dir()} == {*SETS.split(), "held_out"}
    for name in ("voxceleb2_valid", "voxceleb2_calib"):
        trials = [
            line.split()[2]
            for line in (data / name / "trials").read_text().splitlines()
        ]
        assert 0 < trials.count("target") <= 12
        assert 0 < trials.count("nontarget") <= 12
        assert len((data / name / "utt2dur").read_text().splitlines()) >= 9
    before = times(data) | times(finished / "downloads")
    second = subprocess.run(**data_sh(archives, names=ESPNET), cwd=finished)
    assert second.returncode == 0, second.stdout
    assert times(data) | times(finished / "downloads") == before


def test_data_sh_adds_voxceleb1_and_then_keeps_it_up_to_date(
    finished, archives, tmp_path
):
    shutil.copytree(finished.parents[2], tmp_path / "copy", symlinks=True)
    recipe = tmp_path / "copy" / finished.relative_to(finished.parents[2])
    data, stage = recipe / "data", ("--stage", "2", "--stop_stage", "2")
    before = {name: content(data / name) for name in SETS.split()}
    call = data_sh(archives, "--voxceleb12_devs", "true", *stage, names=ESPNET)
    done = subprocess.run(**call, cwd=recipe)
    assert done.returncode == 0, done.stdout
    assert "stage 2: " in done.stdout
    assert "stage 1: " not in done.stdout
    assert "voxceleb12_devs: 8 speakers, 32 utterances, without 7 held" in done.stdout
    assert {name: content(data / name) for name in SETS.split()} == before
    again = subprocess.run(**data_sh(archives, *stage, names=ESPNET), cwd=recipe)
    assert "data/cohort/wav.scp is up to date" in again.stdout
    call = data_sh(archives, "--seed", "1", *stage, names=ESPNET)
    done = subprocess.run(**call, cwd=recipe)
    train, held_out = (
        read_spk2utt(data / name / "spk2utt")
        for name in ("voxceleb12_devs", "voxceleb2_valid")
    )
    assert not train.keys() & held_out.keys()


def test_archives_of_both_corpora_may_lie_in_one_folder(archives, recipe, tmp_path):
    for path in [*archives.voxceleb1.iterdir(), *archives.voxceleb2.iterdir()]:
        (tmp_path / path.name).symlink_to(path)
    tree = dataclasses.replace(archives, root=tmp_path)
    call = data_sh(tree, "--stage", "2", "--stop_stage", "2", names=ESPNET)
    done = subprocess.run(**call, cwd=recipe)
    assert done.returncode == 0, done.stdout
    assert len(read_spk2utt(recipe / "data/voxceleb2_train/spk2utt")) == 5


@pytest.mark.parametrize(
    "there", ["downloads/voxceleb2/dev", "data/voxceleb1_o/trials"]
)
def test_a_killed_data_sh_is_finished_by_the_same_call(
    finished, recipe, archives, there
):
    process = subprocess.Popen(**data_sh(archives), cwd=recipe, start_new_session=True)
    while not (recipe / there).exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = subprocess.run(**data_sh(archives), cwd=recipe)
    assert done.returncode == 0, done.stdout
    ours, theirs = content(recipe / "data"), content(finished / "data")
    assert {name: ours.get(name) for name in theirs} == theirs


def test_damage_is_named(make_tree, recipe, tmp_path):
    tree = make_tree(tmp_path / "t", audio="wav", damage=True)
    damaged = {kind: utt for utt, kind in tree.bad.items()}
    done = subprocess.run(**data_sh(tree), cwd=recipe)
    assert done.returncode == 1
    assert f"utterances have no recording: {damaged['missing']};" in done.stdout
    subprocess.run(
        **data_sh(tree, "--test_lists", "", "--valid_utterances", "4"), cwd=recipe
    )
    found = []
    for name in ("voxceleb2_train", "voxceleb2_valid", "voxceleb2_calib"):
        report = check_data_dir(
            recipe / "data" / name, audio="full", report_file=tmp_path / "report"
        )
        report.save()
        if (tmp_path / "report").exists():
            found += (tmp_path / "report").read_text().splitlines()
    for kind, message in (
        ("truncated", "is truncated"),
        ("empty", "is empty"),
        ("silent", "is silent"),
        ("8 kHz", "is at 8000 Hz (nothing above 4 kHz)"),
        ("stereo", "has 2 channels"),
    ):
        assert [
            line
            for line in found
            if f"utterance {damaged[kind]}: " in line and message in line
        ], (kind, found)
    assert sum(": utterance " in line for line in found) == 5
