"""mini_an4 twice at the same time, in an ESPnet tree, and after kills."""

import concurrent.futures
import zipfile

import pytest

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(3600)]

TRANSFER = ("env", "tasks=transfer", "./run.sh")


@pytest.fixture(scope="module")
def twice(copied_recipe):
    """The recipe after two concurrent runs of two tasks, with a short ASR training."""
    recipe = copied_recipe("mini_an4/sv1")
    _shorten_asr_training(recipe)
    call = ("env", "tasks=transfer scratch", "./run.sh")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(recipe.run, *call) for _ in range(2)]
    recipe.runs = [run.result() for run in runs]
    return recipe


def test_two_concurrent_runs_in_one_folder_leave_one_complete_result(twice):
    for run in twice.runs:
        assert run.returncode == 0, run.stdout
    page = twice.read("exp/RESULTS.md")
    for task in ("transfer", "scratch"):
        assert f"sv_{task}/test/cosine " in page
        packed = zipfile.ZipFile(twice.folder / f"exp/sv_{task}/sv_{task}.zip")
        assert packed.testzip() is None
    left = [
        p.name for p in twice.folder.rglob("*") if p.name.endswith((".lock", ".part"))
    ]
    assert not left


@pytest.fixture(scope="module")
def in_espnet(espnet_tree, recipe_at):
    """The recipe in an ESPnet tree after two tasks.

    The first is run by plain processes with coverage, each of which imports torch and
    ESPnet again; the second as by default.
    """
    recipe = recipe_at(espnet_tree / "egs2/mini_an4/sv1")
    _shorten_asr_training(recipe)
    plain = {
        "preload": "false",
        "PLAIN_PYTHON": "1",
        "COVERAGE_FILE": str(recipe.folder / ".coverage"),
        "COVERAGE_CORE": "sysmon",
    }
    call = ("./run.sh", "--python", "coverage run --append")
    recipe.runs = [
        recipe.run(*call, tasks="transfer", **plain),
        recipe.run("./run.sh", tasks="adaptor"),
    ]
    return recipe


def test_all_stages_run_in_an_espnet_tree(in_espnet):
    for run in in_espnet.runs:
        assert run.returncode == 0, run.stdout
    page = in_espnet.read("exp/RESULTS.md")
    for task in ("transfer", "adaptor"):
        assert f"sv_{task}/test/cosine " in page
        packed = zipfile.ZipFile(in_espnet.folder / f"exp/sv_{task}/sv_{task}.zip")
        assert packed.testzip() is None
    # by the tree's own modules, and every process of ours with coverage
    log = in_espnet.read("exp/asr_local/tokenize.log")
    assert f" {in_espnet.folder.parents[2]}/espnet2/bin/tokenize_text.py " in log
    assert log.startswith("# coverage run --append -m espnet2.bin.tokenize_text ")


def test_plain_processes_give_the_same_as_preloaded_ones(in_espnet, twice):
    assert _scores(in_espnet, "transfer") == pytest.approx(
        _scores(twice, "transfer"), abs=1e-4
    )


def test_the_tree_is_as_before_without_the_plugin(espnet_tree, in_espnet, upstream):
    exp = in_espnet.folder / "exp"
    results = sorted(exp.rglob("*"))
    done = upstream("remove", espnet_tree)
    assert done.returncode == 0, done.stdout
    assert str(in_espnet.folder) in done.stdout
    assert sorted(exp.rglob("*")) == results
    left = {p.name for p in in_espnet.folder.iterdir() if not p.name.startswith(".")}
    assert left == {"exp", "data", "dump", "downloads", "conf", "home"}


def test_a_run_that_is_killed_in_any_stage_is_finished_by_the_same_command(
    copied_recipe, twice
):
    recipe = copied_recipe("mini_an4/sv1")
    _shorten_asr_training(recipe)
    sv = "exp/sv_transfer"
    moments = [
        "data/segments",  # 1: data
        "exp/asr_local/.train.part/checkpoint.pth",  # 2: training of the ASR model
        "exp/.pretrained_*.part",  # 2: putting it in place
        "dump/raw/valid",  # 3: formatting
        f"{sv}/checkpoint.safe.pth",  # 4: training, second epoch
        f"{sv}/.inference.part/trials/embed.log",  # 6: embedding
        f"{sv}/inference/valid/cosine/score.log",  # 7: scoring
        f"{sv}/inference/test/metrics.log",  # 8: metrics
        f"{sv}/pack.log",  # 9: packing
    ]
    recipe.run_with_kills(moments, *TRANSFER)
    assert "resumed" in recipe.read(f"{sv}/train.log")
    assert "sv_transfer/test/cosine" in recipe.read("exp/RESULTS.md")
    assert zipfile.ZipFile(recipe.folder / sv / "sv_transfer.zip").testzip() is None
    assert _scores(recipe, "transfer") == pytest.approx(
        _scores(twice, "transfer"), abs=1e-4
    )


def _shorten_asr_training(recipe) -> None:
    short = {"max_epoch": 2, "num_iters_per_epoch": 3}
    recipe.update_config("conf/train_asr.yaml", short)


def _scores(recipe, task: str) -> dict[str, float]:
    """The scores of the test set, which depend on all earlier stages."""
    lines = recipe.read(
        f"exp/sv_{task}/inference/test/asnorm_calibrated/scores"
    ).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
