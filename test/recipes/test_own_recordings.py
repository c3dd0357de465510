"""A generated recipe, from folders of mixed files to a fine-tuned, packed model."""

import zipfile

import numpy as np
import pytest
import scipy.signal
import soundfile
import yaml
from speaker_models import an4  # noqa: F401

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(3600)]

# Endings and sampling rates in turn; 8 kHz has nothing above 4 kHz
KINDS = ((".wav", 16000), (".flac", 44100), (".ogg", 16000), (".mp3", 22050))
KINDS += ((".wav", 8000), (".aiff", 16000))
SECONDS, SEGMENTS = 0.7, 3  # of a file, and of a speaker at most
SMALL = {
    "target_duration": 0.5,
    "batch_size": 4,
    "num_iters_per_epoch": 2,
    "num_workers": 0,
    "max_epoch": 2,
    "keep_nbest_models": 1,
    "use_matplotlib": False,
}


def write_speakers(folder, recordings, speeds):
    """Write speakers as files of several kinds; at another speed is another speaker."""
    number = 0
    for path in recordings:
        speech, rate = soundfile.read(path)
        for speed in speeds:
            voice = scipy.signal.resample(speech, int(len(speech) / speed))
            length = int(SECONDS * rate)
            for i in range(min(len(voice) // length, SEGMENTS)):
                suffix, to = KINDS[number % len(KINDS)]
                number += 1
                cut = voice[i * length : (i + 1) * length]
                cut = scipy.signal.resample(cut, int(SECONDS * to)).clip(-1, 1)
                if number % 5 == 0:
                    cut = np.stack([cut, cut], axis=1)
                name = f"{path.parent.name} {speed}/day {i % 2}/{path.stem} {i}{suffix}"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / name, cut, to)


@pytest.fixture(scope="module")
def recipe(copied_recipe, recipe_at, an4, tmp_path_factory):  # noqa: F811
    """A new recipe with small trainings, and two folders of speakers."""
    template = copied_recipe("TEMPLATE/sv1")
    folder = template.folder.parents[1] / "own/sv1"
    made = template.run("./setup.sh", str(folder))
    assert made.returncode == 0, made.stdout
    recipe = recipe_at(folder)
    mini_an4 = template.folder.parents[1] / "mini_an4/sv1/conf/train_sv_scratch.yaml"
    scratch = yaml.safe_load(mini_an4.read_text())
    (folder / "conf/small.yaml").write_text(yaml.safe_dump(scratch | SMALL))
    tuned = SMALL | {"lr_schedule": {"warmup_steps": 1}}
    recipe.update_config("conf/train_sv_finetune.yaml", tuned)
    root = tmp_path_factory.mktemp("own recordings")
    recordings = list(an4.values())
    write_speakers(root / "old", recordings, [0.8, 1.25])
    write_speakers(root / "new", recordings, [0.7, 1.0])
    (root / "old/fash 0.8/notes.txt").write_text("not audio")
    recipe.old, recipe.new = str(root / "old"), str(root / "new")
    return recipe


def test_a_model_of_one_folder_is_fine_tuned_on_another(recipe):
    run = ("./run.sh", "--ngpu", "0", "--nj", "1")
    scratch = ("--sv_task", "scratch", "--sv_config", "conf/small.yaml")
    done = recipe.run(*run, *scratch, CORPUS=recipe.old)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("without --noise_scp, babble") == 1
    assert recipe.read("data/left_out") == f"{recipe.old}/fash 0.8/notes.txt\n"
    assert "train: 6 speakers, " in done.stdout
    wavs = recipe.read("data/train/wav.scp") + recipe.read("data/test/wav.scp")
    assert f" {recipe.old}/" in wavs and ".mp3\n" in wavs

    recipe.env["CORPUS"] = recipe.new
    packed = "exp/sv_small/sv_small.zip"
    tuned = "exp/sv_finetune_small"
    tune = (*run, "--init_sv", packed)
    half = ("--sv_tag", "finetune_small", "--sv_args", "--max_epoch 1")
    begun = recipe.run(*tune, *half, "--stop_stage", "4")
    assert begun.returncode == 0, begun.stdout
    assert f"Kept the network of {packed}, but not its classes" in begun.stdout
    assert "starts anew with 6 classes" in begun.stdout
    done = recipe.run(*tune)  # goes on with the second epoch
    assert done.returncode == 0, done.stdout
    assert "resumed" in recipe.read(f"{tuned}/train.log")
    for name in ("small", "finetune_small"):
        assert f"sv_{name}/test/cosine " in recipe.read("exp/RESULTS.md")
    zipped = zipfile.ZipFile(recipe.folder / tuned / "sv_finetune_small.zip")
    assert zipped.testzip() is None
    config = yaml.safe_load(zipped.read("exp/sv_finetune_small/config.yaml"))
    start = yaml.safe_load(recipe.read("exp/sv_small/config.yaml"))
    assert config["init_sv_source"] == packed and config["spk_num"] == 6
    for key in ("frontend_conf", "encoder", "encoder_conf", "head_conf"):
        assert config[key] == start[key]
    classes = recipe.read(f"{tuned}/spk2id").split()[::2]
    assert classes == [
        x.split()[0] for x in recipe.read("data/train/spk2utt").splitlines()
    ]

    before = (recipe.folder / tuned / "latest.pth").stat().st_mtime_ns
    again = recipe.run(*tune)
    assert again.returncode == 0, again.stdout
    assert (recipe.folder / tuned / "latest.pth").stat().st_mtime_ns == before
    few = recipe.run(
        *run, "--local_data_opts", "--test_speakers 9", "--sv_task", "scratch"
    )
    assert few.returncode == 1
    assert "has 10 speakers with recordings, but 2 are for validation, 9" in few.stdout
