"""The recipe fotaq on a generated archive: data and a short experiment."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(3600)]

SMALL = "--allow_incomplete true --test_utterances 8"
PACKAGE = "flight-of-the-amazon-queen"
FEW = """
systems:
- {name: slow, description: slow, task: transfer, config: transfer,
   asr: trained, seeds: 1,
   args: "--freeze_encoder_epochs 0 --encoder_lr_factor 0.1"}
- {name: fast, description: fast, task: transfer, config: transfer,
   asr: trained, seeds: 1,
   args: "--freeze_encoder_epochs 0 --encoder_lr_factor 1.0"}
- {name: transfer, description: the better one, best_of: [slow, fast], seeds: 2}
- {name: adaptor, description: all blocks, task: adaptor, config: adaptor,
   asr: trained, seeds: 1,
   release: true}
- {name: adaptor_early, description: early, like: adaptor, asr: early, seeds: 1}
- {name: adaptor_last, description: last block, task: adaptor, config: adaptor,
   asr: random,
   seeds: 1, args: "--head_conf read_blocks=[6]"}
- {name: adaptor_given, description: published, task: adaptor, config: adaptor,
   asr: given,
   seeds: 1}
comparisons:
- {system: adaptor, against: adaptor_last, title: all or last}
"""
SHORT = (
    *(
        "--folds",
        "1",
        "--seeds",
        "0 1",
        "--systems",
        "few.yaml",
        "--resemblyzer",
        "false",
    ),
    *("--clips", "24", "--synthetic", "12", "--score_norm", "true"),
    "--asr_args",
    (
        "--max_epoch 2 --num_iters_per_epoch 2 --scheduler_conf total_steps=4"
        " --num_workers 0"
    ),
    "--sv_args",
    (
        "--max_epoch 1 --num_iters_per_epoch 2 --batch_size 4 --num_workers 0"
        " --lr_schedule warmup_steps=1 "  # a blank at the end is nothing special
    ),
)


@pytest.fixture(scope="module")
def queen(queen_archive, tmp_path_factory):
    return queen_archive.make_queen(
        tmp_path_factory.mktemp("queen") / "queen.1c", words=5
    ).path


@pytest.fixture
def recipe(copied_recipe):
    """A fresh copy of the recipe, with a narrow network and no apt-get."""
    recipe = copied_recipe("fotaq/sv1")
    small = {"output_size": 32, "linear_units": 64}
    recipe.update_config("conf/train_asr.yaml", {"encoder_conf": small})
    set_apt_get(recipe, "echo 'E: Unable to fetch' 1>&2; exit 100")
    return recipe


def set_speakers(recipe, wave: Path) -> None:
    """Put packages where fetched ones are: WordNet, and programs that say one thing."""
    packages = recipe.folder / "downloads/packages/usr"
    for folder in ("bin", "share/wordnet"):
        (packages / folder).mkdir(parents=True)
    for program in ("espeak-ng", "flite"):
        path = packages / "bin" / program
        path.write_text(f"#!/bin/sh\nexec cat {wave}\n")
        path.chmod(0o755)
    for kind in ("noun", "verb", "adj", "adv"):
        examples = [f"this is {kind} number {n}" for n in ("one", "two", "three")]
        lines = [f'0 00 n 01 x 0 | a word; "{example}"\n' for example in examples]
        (packages / f"share/wordnet/data.{kind}").write_text("".join(lines))


def set_apt_get(recipe, script: str) -> None:
    """Put an apt-get before the real one."""
    programs = recipe.folder / "home/bin"
    programs.mkdir(exist_ok=True)
    (programs / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "apt-get").chmod(0o755)
    recipe.env["PATH"] = f"{programs}:{os.environ['PATH']}"


def hide_apt_get(recipe) -> None:
    """Leave no apt-get on the PATH: its folder is replaced by links to the rest."""
    path = []
    for i, folder in enumerate(map(Path, os.environ["PATH"].split(":"))):
        path.append(folder)
        if (folder / "apt-get").exists():
            path[-1] = recipe.folder / f"home/programs{i}"
            path[-1].mkdir()
            for program in folder.iterdir():
                if program.name != "apt-get":
                    (path[-1] / program.name).symlink_to(program)
    recipe.env["PATH"] = ":".join(map(str, path))


@pytest.fixture(scope="module")
def published_asr(asr_fixtures, tmp_path_factory):
    """A packed ASR model with a published one's settings, small, of random weights."""
    settings = asr_fixtures.published("librispeech_conformer_hop160")
    return asr_fixtures.train(tmp_path_factory.mktemp("published"), settings).pack(
        with_stats=True
    )


@pytest.fixture(scope="module")
def package(queen, tmp_path_factory):
    """A package that holds the archive where Debian's has it."""
    folder = tmp_path_factory.mktemp("package")
    inside = folder / "root/usr/share/scummvm" / PACKAGE
    inside.mkdir(parents=True)
    shutil.copy(queen, inside)
    (folder / "root/DEBIAN").mkdir()
    control = f"Package: {PACKAGE}\nVersion: 1-1\nArchitecture: all\n"
    control += "Maintainer: Nobody <nobody@localhost>\nDescription: a test\n"
    (folder / "root/DEBIAN/control").write_text(control)
    (folder / "root").chmod(0o755)
    deb = folder / f"{PACKAGE}_1-1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--build", folder / "root", deb], check=True, capture_output=True
    )
    return deb


def tables(recipe) -> dict[str, str]:
    """All files but audio, notes about stages, and what a kill left half-written."""
    return {
        str(path.relative_to(recipe.folder)): path.read_text()
        for path in (recipe.folder / "data").rglob("*")
        if path.is_file() and path.suffix not in (".flac", ".done", ".part")
    }


def test_data_of_all_folds_are_made_checked_and_not_made_again(recipe, queen):
    call = (
        "./run.sh",
        "--stop_stage",
        "1",
        "--synthetic",
        "0",
        "--local_data_opts",
        f"{SMALL} --fotaq {queen}",
    )
    done = recipe.run(*call)
    assert done.returncode == 0, done.stdout
    for fold in (1, 2, 3):
        for kind in ("train", "valid", "test", "test4"):
            assert f"data/fold{fold}_{kind}: no problems found" in done.stdout
            formatted = recipe.read(f"dump/raw/fold{fold}_{kind}/wav.scp")
            assert formatted == recipe.read(
                f"data/fold{fold}_{kind}/wav.scp"
            )  # nothing converted
    assert "Warning" not in done.stdout  # of training speakers in a test set, for one
    before = {p: p.stat().st_mtime_ns for p in (recipe.folder / "data").rglob("*")}
    again = recipe.run(*call)
    assert again.returncode == 0, again.stdout
    assert "data/about/characters is up to date" in again.stdout
    assert {
        p: p.stat().st_mtime_ns for p in (recipe.folder / "data").rglob("*")
    } == before


def test_the_package_is_fetched_once_and_a_kill_is_made_good(recipe, package, queen):
    set_apt_get(recipe, f'echo "$@" >> "$HOME/calls"; cp {package} .')
    call = ("local/data.sh", *SMALL.split())
    moments = ["downloads/*.deb", "data/clips/BOB/*.flac", "data/fold2_train/wav.scp"]
    recipe.run_with_kills(moments, *call)
    assert recipe.read("home/calls") == f"download {PACKAGE}\n"
    assert (recipe.folder / "downloads/queen.1c").read_bytes() == queen.read_bytes()
    assert {p.name for p in (recipe.folder / "downloads").iterdir()} == {
        package.name,
        "queen.1c",
        ".queen.1c.done",
        ".fetch.log",
    }
    resumed = tables(recipe)
    shutil.rmtree(recipe.folder / "data")
    done = recipe.run(*call, "--fotaq", str(package))
    assert done.returncode == 0, done.stdout
    assert tables(recipe) == resumed


def test_what_is_missing_or_damaged_is_told_in_the_last_line(
    recipe, package, queen, tmp_path
):
    def refused(*options: str) -> str:
        done = recipe.run("local/data.sh", *options)
        assert done.returncode == 1, done.stdout
        assert not (recipe.folder / "data/about/characters").exists()
        return done.stdout.splitlines()[-1]

    told = refused()
    assert (
        f"apt-get cannot fetch {PACKAGE} (E: Unable to fetch); run apt-get update"
        in told
    )
    hide_apt_get(recipe)
    assert "there is no apt-get" in refused()

    assert "nowhere: does not exist; correct --fotaq" in refused("--fotaq", "nowhere")
    cut = tmp_path / "queen.1c"
    cut.write_bytes(queen.read_bytes()[:-5000])
    assert f"error: {cut}: is truncated" in refused("--fotaq", str(cut))
    assert f"error: {queen}: " in (told := refused("--fotaq", str(queen)))
    assert "clips, not 4,548" in told
    deb = tmp_path / package.name
    deb.write_bytes(package.read_bytes()[:-5000])
    assert f"{deb}: cannot be unpacked (" in refused("--fotaq", str(deb))
    assert not (recipe.folder / "downloads/queen.1c").exists()


def test_an_experiment_is_finished_after_a_kill_and_its_page_has_all_of_it(
    recipe, queen, tmp_path
):
    (recipe.folder / "few.yaml").write_text(FEW)
    noise = 0.1 * np.random.default_rng(0).standard_normal(20000)
    soundfile.write(tmp_path / "said.wav", noise, 16000)
    set_speakers(recipe, tmp_path / "said.wav")
    call = ("./run.sh", *SHORT, "--local_data_opts", f"{SMALL} --fotaq {queen}")
    moments = ["exp/fold1/sv_fast_seed0/checkpoint.pth"]
    printed = recipe.run_with_kills(moments, *call)
    told = re.search(
        "transfer is (slow|fast) .mean validation EER: slow (.*) %, fast (.*) %",
        printed,
    )
    chosen = os.readlink(recipe.folder / "exp/fold1/sv_transfer_seed0")
    assert chosen == f"sv_{told[1]}_seed0"
    assert told[1] == ("slow" if float(told[2]) <= float(told[3]) else "fast")
    again = recipe.read("exp/fold1/sv_transfer_seed1/config.yaml")
    assert f"encoder_lr_factor: {'0.1' if told[1] == 'slow' else '1.0'}" in again

    page = recipe.read("exp/RESULTS.md")
    for row in (
        "| slow | 1 ",
        "| fast | 1 ",
        "| the better one | 2 ",
        "| all or last (adaptor against adaptor_last) | ",
        "| early | 1 ",
        "| fold 1, ASR model |",
        "| fold 1, synthetic speech only |",
        "| real speech, early | ",
    ):
        assert row in page, page
    assert "\nNot measured: published.\n" in page and "lacks" not in page
    pictures = re.findall(r"[(](results/.*[.]png)[)]", page)
    assert len(pictures) == 3
    for picture in pictures:
        assert (recipe.folder / "exp" / picture).read_bytes()[:4] == b"\x89PNG"
    rates = json.loads(recipe.read("exp/fold1/recognition/recognition.json"))
    others = {"asr_random", "asr_early", "asr_real", "asr_synthetic"}
    assert rates.pop("others").keys() == others
    for decoders in rates.values():
        for rate in decoders.values():
            assert rate["alone"] == rate["joint"]
            assert rate["equal_texts"] == rate["texts"] > 0

    trained = {
        p: p.stat().st_mtime_ns
        for p in recipe.folder.glob("exp/fold1/*/checkpoint.pth")
    }
    assert len(trained) == 6 + 1  # one is seen by two names
    assert recipe.run(*call).returncode == 0
    for path, time in trained.items():
        assert path.stat().st_mtime_ns == time

    enroll, test = (
        line.split()[1]
        for line in recipe.read("data/fold1_test/wav.scp").splitlines()[:2]
    )
    told = recipe.run(
        *(
            "bash",
            "-c",
            '. ./path.sh && python3 -m espnet2_sv.bin.sv_verify "$@"',
            "bash",
        ),
        *("--model", "exp/fold1/sv_adaptor_seed0/sv_adaptor_seed0.zip"),
        # clips of a second, in some of which no speech is found
        *("--enroll", enroll, "--test", test, "--vad", "false"),
    )
    assert told.returncode == 0, told.stdout
    assert json.loads(told.stdout.splitlines()[-1])["decision"] in (True, False)


def test_an_adaptor_is_attached_to_a_published_model(recipe, queen, published_asr):
    (recipe.folder / "few.yaml").write_text(FEW)
    done = recipe.run(
        *("./run.sh", *SHORT, "--local_data_opts", f"{SMALL} --fotaq {queen}"),
        *("--seeds", "0", "--asr_model", str(published_asr), "--score_norm", "false"),
    )
    assert done.returncode == 0, done.stdout
    page = recipe.read("exp/RESULTS.md")
    assert "| published | 1 " in page
    assert "AS-norm" not in page
    assert not list(recipe.folder.glob("exp/fold1/*/inference/*/asnorm"))
    assert not list(recipe.folder.glob("exp/fold1/asr*"))
