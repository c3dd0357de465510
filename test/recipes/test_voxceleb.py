"""The VoxCeleb recipe on generated corpora in the official layouts."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from espnet2.bin.spk_inference import Speech2Embedding as EspnetSpeech2Embedding
from espnet2.main_funcs.pack_funcs import unpack as espnet_unpack
from espnet2_sv import Speech2Embedding

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(3600)]

SPEAKERS = 200  # of VoxCeleb2; VoxCeleb1 adds 12
DATA = (
    "--valid_speakers 8 --calib_speakers 10 --valid_trials 60 --calib_trials 80"
    " --nj 2 --allow_incomplete true --trial_lists "
)
SHORT = "--max_epoch 2 --num_iters_per_epoch 6 --batch_size 16 --num_workers 0"
SHORT += (
    " --use_matplotlib false --target_duration 1.0 --use_amp false --lr_schedule"
    " warmup_steps=2"
)
SMALL = {
    "transfer": f"{SHORT} --freeze_encoder_epochs 1",
    "adaptor": f"{SHORT} --head_conf adaptor_dim=16 --head_conf linear_units=32",
    "distill": (
        f"{SHORT} --encoder_conf ndim=16 --encoder_conf output_size=32"
        " --branch_conf dim=16 --head_conf embed_dim=16"
    ),
    "scratch": (
        f"{SHORT} --encoder_conf output_size=16 --encoder_conf num_blocks=2"
        " --encoder_conf linear_units=32"
    ),
}
CONFIG = {"distill": "distill_ecapa", "scratch": "scratch_small"}
ALL_SETS = ("voxceleb1_o", "voxceleb1_e", "voxceleb1_h")
LMFT_SHORT = "--max_epoch 1 --num_iters_per_epoch 4 --batch_size 8 --num_workers 0"
LMFT_SHORT += " --target_duration 1.5 --use_amp false --use_matplotlib false"
LMFT = ("--lmft_config", "conf/train_sv_lmft.yaml", "--lmft_args", LMFT_SHORT)


@pytest.fixture(scope="module")
def archives(voxceleb_tree, tmp_path_factory):
    """The corpora as distributed: m4a in parts of an archive, and so on."""
    root = tmp_path_factory.mktemp("corpora") / "t"
    return voxceleb_tree.make_tree(root, SPEAKERS, archives=True, trials=120)


@pytest.fixture(scope="module")
def voxceleb(copied_recipe):
    """Return a function that copies the recipe and sets the locations of a tree."""

    def copy(tree):
        recipe = copied_recipe("voxceleb/sv1")
        places = {
            name.upper(): getattr(tree, name) for name in ("voxceleb1", "voxceleb2")
        }
        places |= {"MUSAN": tree.musan, "RIRS": tree.rirs}
        recipe.env |= {name: str(place) for name, place in places.items()}
        recipe.trial_lists = str(tree.trial_lists)
        return recipe

    return copy


def command(
    recipe, task: str, asr, *options: str, sets=("voxceleb1_o",)
) -> tuple[str, ...]:
    """The call of run.sh that trains a small network with one task."""
    name = CONFIG.get(task, task)
    call = ("./run.sh", "--sv_task", task, "--sv_config", f"conf/train_sv_{name}.yaml")
    call += ("--sv_tag", name, "--sv_args", SMALL[task], "--test_sets", " ".join(sets))
    call += ("--local_data_opts", DATA + recipe.trial_lists, "--ngpu", "0", "--nj", "1")
    call += (
        "--format_jobs",
        "2",
        "--format_args",
        "--convert_containers true",
        "--top_n",
        "50",
    )
    return (*call, *(() if task == "scratch" else ("--asr_model", str(asr))), *options)


@pytest.fixture(scope="module")
def finished(voxceleb, archives, zoo):
    """The recipe after an uninterrupted run of each task; tests add to it."""
    recipe = voxceleb(archives)
    asr = zoo.asr("ctc")
    calls = [command(recipe, "transfer", asr, *LMFT), command(recipe, "adaptor", asr)]
    card = ("--pack_args", "--license cc-by-4.0 --language en")
    calls.append(command(recipe, "distill", asr, "--score_norm", "false", *card))
    calls.append(
        command(recipe, "scratch", asr, "--score_norm", "false", sets=ALL_SETS)
    )
    for call in calls:
        done = recipe.run(*call)
        assert done.returncode == 0, done.stdout
    return recipe


def rows(page: str) -> dict[str, list[list[str]]]:
    """Cells of RESULTS.md by the first in the row; a row is in one or both tables."""
    found: dict[str, list[list[str]]] = {}
    for line in page.splitlines():
        if line.startswith("| "):
            first, *cells = (cell.strip() for cell in line.split("|")[1:-1])
            found.setdefault(first, []).append(cells)
    return found


def test_every_task_fills_its_cells_and_is_packed(finished):
    found = rows(finished.read("exp/RESULTS.md"))
    cosine, tuned = found["transfer, 18 x 512"]
    assert not any(cosine[:11])  # the row of a run without fine-tuning
    assert all(tuned[:3])
    assert not any(tuned[3:9])  # only O was requested
    assert tuned[11].startswith("0.43 / 0.66 / 1.35")
    for system, sets in (
        ("adaptor, 18 x 512", 1),
        ("distillation, ECAPA-TDNN", 1),
        ("from scratch, 16 x 176", 3),
    ):
        cosine = found[system][0]
        assert [bool(cell) for cell in cosine[:9]] == [True] * 3 * sets + [
            False
        ] * 3 * (3 - sets)
        assert all(cosine[9:11])  # parameters and compute
    for name in ("transfer_lmft", "adaptor", "distill_ecapa", "scratch_small"):
        packed = finished.folder / f"exp/sv_{name}/sv_{name}.zip"
        assert zipfile.ZipFile(packed).testzip() is None


def test_a_packed_student_tells_its_error_rates_and_is_a_model_of_espnet(
    finished, tmp_path
):
    exp = finished.folder / "exp/sv_distill_ecapa"
    files = espnet_unpack(exp / "sv_distill_ecapa.zip", tmp_path)
    card = ModelCard.load(tmp_path / "README.md").data
    assert (card.license, card.language) == ("cc-by-4.0", "en")
    measured = json.loads(
        (exp / "inference/voxceleb1_o/cosine/metrics.json").read_text()
    )
    first = card.eval_results[0]
    assert first.metric_name == "EER (%), cosine"
    assert first.metric_value == round(measured["eer"], 4)
    assert first.dataset_args["target"] == measured["n_target"]
    rng = np.random.default_rng(0)
    speech = (0.1 * rng.standard_normal(24000)).astype(np.float32)
    ours = Speech2Embedding.from_pretrained(exp)(speech)
    espnets = EspnetSpeech2Embedding(**files)(speech)
    torch.testing.assert_close(espnets, ours, atol=1e-4, rtol=1e-4)


def test_each_speed_of_each_training_speaker_is_a_class_until_fine_tuning(
    finished, zoo
):
    stage = ("--stage", "5", "--stop_stage", "5")
    done = finished.run(*command(finished, "adaptor", zoo.asr("ctc"), *LMFT, *stage))
    assert done.returncode == 0, done.stdout
    for name in ("transfer", "adaptor"):
        classes = finished.read(f"exp/sv_{name}/spk2id").splitlines()
        tuned = finished.read(f"exp/sv_{name}_lmft/spk2id").splitlines()
        assert len(classes) == 3 * len(tuned) == 3 * (SPEAKERS - 8 - 10)


def test_training_on_voxceleb1_and_2_leaves_out_e_and_h(finished, zoo):
    call = command(
        finished, "scratch", zoo.asr("ctc"), "--train_set", "voxceleb12_devs"
    )
    sets = call.index("--test_sets")
    done = finished.run(*call[:sets], *call[sets + 2 :], "--stop_stage", "1")
    assert done.returncode == 0, done.stdout
    assert "Testing on voxceleb1_o only: voxceleb12_devs has the" in done.stdout
    train = finished.read("data/voxceleb12_devs/spk2utt").splitlines()
    assert len(train) == SPEAKERS + 12 - 8 - 10


def test_a_run_that_is_killed_in_every_stage_ends_with_the_same_result(
    voxceleb, archives, zoo, finished
):
    recipe = voxceleb(archives)
    call = command(recipe, "transfer", zoo.asr("ctc"), *LMFT, "--format_jobs", "1")
    before, tuned = "exp/sv_transfer", "exp/sv_transfer_lmft"
    moments = [
        "downloads/*",  # 1: unpacking
        "data/voxceleb1_o",  # 1: writing the sets
        "exp/.pretrained_*.part",  # 2: putting the ASR model in place
        "dump/raw/voxceleb2_train",  # 3: formatting
        f"{before}/checkpoint.safe.pth",  # 4: training, second epoch
        f"{tuned}/config.yaml",  # 5: fine-tuning
        f"{tuned}/.inference.part/trials/embed.log",  # 6: embedding
        f"{tuned}/inference/voxceleb2_calib/cosine/score.log",  # 7: scoring
        f"{tuned}/inference/voxceleb1_o/metrics.log",  # 8: metrics
        f"{tuned}/pack.log",  # 9: packing
    ]
    recipe.run_with_kills(moments, *call)
    assert "resumed" in recipe.read(f"{before}/train.log")
    assert (
        zipfile.ZipFile(recipe.folder / tuned / "sv_transfer_lmft.zip").testzip()
        is None
    )
    for kind in ("cosine", "asnorm_calibrated"):
        folder = f"{tuned}/inference/voxceleb1_o/{kind}"
        found, expected = (
            scores(r.folder / folder / "scores") for r in (recipe, finished)
        )
        assert found.keys() == expected.keys()
        for trial, score in found.items():
            assert score == pytest.approx(expected[trial], abs=1e-4)
        eer, known = (
            json.loads(r.read(f"{folder}/metrics.json")) for r in (recipe, finished)
        )
        assert eer["eer"] == pytest.approx(known["eer"], abs=0.01)


def scores(path: Path) -> dict[tuple[str, str], float]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {(enroll, test): float(score) for enroll, test, score in lines}


def test_problems_of_a_corpus_are_named(voxceleb_tree, voxceleb, tmp_path, zoo):
    tree = voxceleb_tree.make_tree(tmp_path / "t", 30, damage=True, trials=40)
    bad = {kind: utterance for utterance, kind in tree.bad.items()}
    recipe = voxceleb(tree)
    call = command(recipe, "transfer", zoo.asr("ctc"), "--stop_stage", "3")
    refused = recipe.run(*call)
    assert refused.returncode == 1
    assert bad["missing"] in refused.stdout.splitlines()[-1]

    speaker, video, number = (
        bad["missing"][:7],
        bad["missing"][8:-6],
        bad["missing"][-5:],
    )
    found = next((tree.voxceleb1 / "test/wav").glob("*/*/*.wav"))
    folder = tree.voxceleb1 / "test/wav" / speaker / video
    (folder / f"{number}.wav").write_bytes(found.read_bytes())
    refused = recipe.run(*call)
    assert refused.returncode == 1
    assert all(bad[kind] in refused.stdout for kind in ("truncated", "empty"))

    (tmp_path / "exclude").write_text(f"{bad['truncated']}\n{bad['empty']}\n")
    recipe.trial_lists += f" --exclude {tmp_path}/exclude"
    done = recipe.run(*command(recipe, "transfer", zoo.asr("ctc"), "--stop_stage", "3"))
    assert done.returncode == 0, done.stdout
    assert bad["silent"] in done.stdout
    assert "8 kHz 1 (nothing above 4 kHz)" in done.stdout
    assert "1 has two channels, of which the mean is used" in done.stdout
    lists = (recipe.folder / "dump/raw/logs").glob("check_*.txt")
    listed = "".join(path.read_text() for path in lists)
    for kind in ("8 kHz", "stereo"):
        assert f"utterance {bad[kind]}: " in listed, kind
