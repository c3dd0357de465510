"""The default recipe, from one command to RESULTS.md and a packed model."""

import argparse
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from kaldi_reference import kaldiio
from stock_speakers import make_stock_exp

from espnet2_sv.data.audio import read_audio
from espnet2_sv.tasks.distill import SVDistillTask

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(3600)]

TASKS = ("transfer", "scratch", "adaptor", "distill")
TRANSFER = ("env", "tasks=transfer", "./run.sh")
LMFT = ("--lmft_config", "conf/train_sv_lmft.yaml", "--stage", "4")
FIRST_BLOCKS = (
    "--sv_config",
    "conf/train_sv_distill_transfer.yaml",
    "--sv_tag",
    "first_blocks",
)
EPOCHS = 6  # of that training
EMBED = """
import sys
import soundfile
from espnet2_sv import Speech2Embedding
speech, _ = soundfile.read(sys.argv[2], dtype="float32")
print(*Speech2Embedding.from_pretrained(sys.argv[1])(speech).squeeze(0).tolist())
"""


@pytest.fixture(scope="module")
def finished(copied_recipe):
    """The recipe after one uninterrupted run."""
    recipe = copied_recipe("mini_an4/sv1")
    done = recipe.run("./run.sh")
    assert done.returncode == 0, done.stdout
    return recipe


def test_all_tasks_are_in_the_results(finished):
    results = finished.read("exp/RESULTS.md")
    for task in TASKS:
        for kind in ("cosine", "asnorm"):
            assert f"sv_{task}/test/{kind} " in results


def test_the_page_for_espnet_has_every_task_with_its_configuration(finished):
    page = finished.read("exp/RESULTS_espnet.md")
    for task in TASKS:
        config = f"conf/train_sv_{task}.yaml"
        assert f"| [{config}]({config}) | " in page
        assert f"\n## Environments - {config}\n" in page
    assert page.count("- pytorch version: `pytorch ") == len(TASKS)


def test_text_is_the_same_before_and_after_the_adaptor(finished):
    sets = "exp/sv_adaptor/inference/asr_train"
    alone = finished.read(f"{sets}/asr_alone/1best_recog/text").splitlines()
    joint = finished.read(f"{sets}/joint/text").splitlines()
    assert sorted(alone) == sorted(joint)
    assert all(len(line.split()) > 1 for line in joint)
    system = json.loads(
        finished.read("exp/sv_adaptor/inference/test/cosine/system.json")
    )
    assert system["cer_asr_alone"] == system["cer_joint"]
    assert 0 < system["trained_parameters"] < system["parameters"]


def test_packed_model_gives_the_recipe_s_embedding_elsewhere(finished, tmp_path):
    packed = finished.folder / "exp/sv_transfer/sv_transfer.zip"
    name, wav = finished.read("data/test/wav.scp").splitlines()[0].split()
    moved = tmp_path / "model.zip"
    moved.write_bytes(packed.read_bytes())
    env = os.environ | {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    printed = subprocess.run(
        [sys.executable, "-c", EMBED, moved, finished.folder / wav],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    scp = finished.folder / "exp/sv_transfer/inference/trials/xvector.scp"
    line = next(
        line for line in scp.read_text().splitlines() if line.split()[0] == name
    )
    stored = kaldiio.load_mat(str(finished.folder / line.split()[1]))
    np.testing.assert_allclose(
        np.array(printed.split(), float), stored, atol=1e-6, rtol=1e-5
    )


def test_a_student_approaches_its_teacher_on_held_out_clips(finished, monkeypatch):
    keep_all = ("--sv_args", f"--keep_nbest_models {EPOCHS}")
    only_training = ("--stage", "4", "--stop_stage", "4")
    done = finished.run(
        "env", "tasks=distill", "./run.sh", *FIRST_BLOCKS, *keep_all, *only_training
    )
    assert done.returncode == 0, done.stdout
    monkeypatch.chdir(finished.folder)  # paths in the configuration are from there
    config = yaml.safe_load(finished.read("exp/sv_first_blocks/config.yaml"))
    model = SVDistillTask.build_model(
        argparse.Namespace(**config | {"resume": False})
    ).eval()
    # valid: segments of training speakers that the teacher was trained on, but not the
    # student; test: speakers that neither was trained on
    for name in ("valid", "test"):
        first, last = (
            _divergence(
                model, f"exp/sv_first_blocks/{epoch}epoch.pth", f"data/{name}/wav.scp"
            )
            for epoch in (1, EPOCHS)
        )
        assert last["kl"] < 0.5 * first["kl"], name
        assert last["agreement"] > first["agreement"], name


def test_second_call_starts_no_job(finished):
    before = _times(finished)  # includes logs, which every job writes
    again = finished.run("./run.sh")
    assert again.returncode == 0, again.stdout
    assert _times(finished) == before


def test_it_ends_with_a_command_to_try(finished):
    printed = finished.run("./run.sh").stdout
    end = printed[printed.index("Speaker models") :].splitlines()
    models = [f"exp/sv_{task}/sv_{task}.zip" for task in TASKS]
    assert [line.strip() for line in end[1:5]] == models
    answer = json.loads(next(line for line in end if line.strip().startswith("{")))
    assert answer["decision"] in (True, False)
    folder, command = (
        line.strip() for line in end if line.startswith(("    cd ", "    python3 "))
    )
    command = command.replace("A.wav", end[6].strip()).replace("B.wav", end[7].strip())
    again = finished.run("bash", "-c", f"{folder}\n{command} 2> /dev/null")
    assert json.loads(again.stdout) == answer
    assert "mean nothing" in printed


def test_the_notebook_runs_from_top_to_bottom(finished):
    project = finished.folder.parents[2]
    done = finished.run(
        "python3",
        str(project / "test/notebook.py"),
        str(project / "tools/doc/speaker_adaptor.ipynb"),
    )
    assert done.returncode == 0, done.stdout
    end = done.stdout[done.stdout.index("same speaker: ") :]
    assert "fash in cen7-fash-b.sph: " in end  # who is it
    assert "fash: YES  (embedding of 64 numbers)" in end  # who said what


def test_large_margin_fine_tuning_has_its_own_results(finished):
    done = finished.run(*TRANSFER, *LMFT)
    assert done.returncode == 0, done.stdout
    assert "sv_transfer_lmft/test/cosine" in finished.read("exp/RESULTS.md")
    assert (finished.folder / "exp/sv_transfer_lmft/sv_transfer_lmft.zip").exists()


def test_a_downloaded_model_is_evaluated_without_training(finished, tmp_path):
    packed = "exp/sv_transfer/sv_transfer.zip"
    stock = str(make_stock_exp(tmp_path / "stock", "ecapa"))
    for model, tag in ((packed, "downloaded"), (stock, "stock_ecapa")):
        done = finished.run(*TRANSFER, "--download_model", model, "--sv_tag", tag)
        assert done.returncode == 0, done.stdout
        files = {path.name for path in (finished.folder / f"exp/sv_{tag}").iterdir()}
        assert "model.pth" in files and "train.log" not in files
        for kind in ("cosine", "asnorm", "cosine_calibrated"):
            assert f"sv_{tag}/test/{kind} " in finished.read("exp/RESULTS.md")
    assert "Packing: skipped" in done.stdout
    for kind in ("cosine", "asnorm_calibrated"):
        ours, theirs = (
            finished.read(f"exp/sv_{tag}/inference/test/{kind}/scores").split()
            for tag in ("downloaded", "transfer")
        )
        assert ours[::3] == theirs[::3] and ours[1::3] == theirs[1::3]
        np.testing.assert_allclose(
            np.array(ours[2::3], float), np.array(theirs[2::3], float), atol=1e-5
        )
    verify = "python3 -m espnet2_sv.bin.sv_verify --model"
    wav = finished.read("data/test/wav.scp").split()[1]
    again = finished.run(
        "bash",
        "-c",
        f". ./path.sh; {verify} exp/sv_downloaded/sv_downloaded.zip --enroll {wav}"
        f" --test {wav} 2> /dev/null",
    )
    assert json.loads(again.stdout.splitlines()[-1])["threshold_on"] == "llr"


def test_training_with_other_settings_is_not_mixed_into_a_trained_model(finished):
    before = _times(finished)
    seed = ("--sv_tag", "transfer", "--sv_args", "--seed 7")
    refused = finished.run(*TRANSFER, "--stage", "4", *seed)
    assert refused.returncode == 1
    assert "was started with other settings" in refused.stdout
    assert "--seed 7" in refused.stdout
    assert _times(finished) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--asr_model", "data/corrupt.zip", "--stage", "2"], "data/corrupt.zip"),
        (["--asr_model", "nobody/nothing", "--stage", "2"], "nobody/nothing"),
        (["--test_sets", "wrong", "--stage", "3"], "zzz-nobody of"),
        (["--dumpdir", "data/noise.scp/dump", "--stage", "3"], "cannot be written to"),
        (
            ["--noise_scp", "missing.scp", "--sv_tag", "new", "--stage", "4"],
            "missing.scp",
        ),
        (["--sv_args", "--batch_size 1", "--stage", "4"], "--batch_size 1"),
        (["--sv_args", "--magic true", "--stage", "4"], "--magic"),
        (["--sv_tag", "new", "--stage", "6"], "run stage 4 first"),
        (["--inference_model", "3epoch.pth", "--stage", "6"], "3epoch.pth"),
        (["--skip_upload_hf", "false", "--stage", "10"], "--hf_repo"),
    ],
)
def test_mistakes_are_one_line(finished, options, message):
    (finished.folder / "data/corrupt.zip").write_bytes(b"PK not a zip")
    wrong = finished.folder / "data/wrong"
    if not wrong.exists():
        shutil.copytree(finished.folder / "data/test", wrong)
        with open(wrong / "trials", "a") as trials:
            trials.write("zzz-nobody zzz-nobody target\n")
    refused = finished.run(*TRANSFER, *options)
    assert refused.returncode == 1, refused.stdout
    assert "Traceback" not in refused.stdout
    assert any(message in line for line in _messages(refused)), refused.stdout


def _divergence(model, weights: str, wav_scp: str) -> dict[str, float]:
    """KL(teacher || student) per frame in nats, and the fraction that agrees."""
    model.load_state_dict(torch.load(weights, weights_only=True))
    sums = []
    with open(wav_scp) as recordings, torch.no_grad():
        for line in recordings:
            speech = torch.from_numpy(read_audio(line.split()[1]))[None]
            samples = torch.tensor([speech.size(1)])
            blocks, lengths = model.backbone(speech, samples)
            found = model.distill(blocks[model.layer - 1], lengths, speech, samples)
            sums.append(
                torch.stack([found.loss, found.weight, found.agreeing, found.frames])
            )
    loss, weight, agreeing, frames = torch.stack(sums).sum(dim=0).tolist()
    return {"kl": loss / weight, "agreement": agreeing / frames}


def _messages(process) -> list[str]:
    """The lines that a command prints, except the one that repeats its arguments."""
    return [
        line for line in process.stdout.splitlines() if "./sv.sh --sv_task" not in line
    ]


def _times(recipe) -> dict[str, float]:
    """The modification times of the results."""
    patterns = (
        "data/**/*",
        "dump/**/*",
        "exp/**/*.pth",
        "exp/**/*.zip",
        "exp/**/xvector.*",
    )
    patterns += (
        "exp/**/*.log",
        "dump/**/*.log",
        "exp/**/scores",
        "exp/**/metrics.json",
        "exp/**/RESULTS.md",
    )
    return {
        str(path): path.stat().st_mtime
        for pattern in patterns
        for path in recipe.folder.glob(pattern)
        if path.is_file()
    }
