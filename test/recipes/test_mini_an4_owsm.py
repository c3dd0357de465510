"""mini_an4 from a packed OWSM model: three ways, verification and recognition."""

import shutil
import zipfile

import numpy as np
import pytest
import yaml
from adaptors import make_asr

from espnet2.bin.s2t_inference import Speech2Text
from espnet2_sv import SpeakerVerifier, Speech2TextEmbedding
from espnet2_sv.bin import sv_pack
from espnet2_sv.data.audio import read_audio

pytestmark = [
    pytest.mark.recipe,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:Expanding a local model:UserWarning"),
]

TASKS = ("transfer", "distill", "adaptor")
SHORT = {"max_epoch": 1, "num_iters_per_epoch": 3}
# a decoder with random weights ends no sentence: a few tokens of 749 frames
DECODE = {"beam_size": 2, "ctc_weight": 0.3, "maxlenratio": 0.02}


@pytest.fixture(scope="module", params=["owsm"])
def finished(request, copied_recipe, tmp_path_factory):
    """The recipe after one run from the archive, which is then gone."""
    trained = make_asr(tmp_path_factory.mktemp("owsm") / "asr", request.param)
    archive = trained.pack()
    recipe = copied_recipe("mini_an4/sv1")
    for task in TASKS:
        recipe.update_config(f"conf/train_sv_{task}.yaml", SHORT)
    (recipe.folder / "conf/decode_owsm.yaml").write_text(yaml.safe_dump(DECODE))
    call = ("./run.sh", "--asr_model", str(archive), "--score_norm", "false")
    call += ("--asr_decode_config", "conf/decode_owsm.yaml")
    recipe.finished = recipe.run(*call, tasks=" ".join(TASKS))
    shutil.rmtree(trained.root)
    return recipe


def test_three_ways_train_pack_and_verify(finished):
    assert finished.finished.returncode == 0, finished.finished.stdout
    assert "Traceback" not in finished.finished.stdout
    assert "transfer: task                 s2t" in finished.finished.stdout
    page = finished.read("exp/RESULTS.md")
    first, second = _recordings(finished, "test")[:2]
    for task in TASKS:
        assert f"sv_{task}/test/cosine " in page
        verifier = SpeakerVerifier.from_pretrained(_packed(finished, task))
        same, other = verifier.verify(first, first), verifier.verify(first, second)
        assert same["score"] == pytest.approx(1, abs=1e-5)
        assert -1 <= other["score"] < same["score"]
        assert same["threshold"] == other["threshold"]


def test_the_adaptor_recognises_as_espnet_does(finished, tmp_path, monkeypatch):
    # by ESPnet's own command before, by sv_joint after the adaptor was attached
    sets = "exp/sv_adaptor/inference/asr_train"
    alone = finished.read(f"{sets}/asr_alone/1best_recog/text").splitlines()
    joint = finished.read(f"{sets}/joint/text").splitlines()
    assert sorted(alone) == sorted(joint)
    assert all(len(line.split()) > 1 for line in joint)
    # packed as one model, it is one for ESPnet, too, and gives both at once
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(finished.folder)
    archive = str(tmp_path / "joint.zip")
    sv_pack.main(["--exp", "exp/sv_adaptor", "--format", "joint", "--output", archive])
    monkeypatch.chdir(tmp_path)
    stock = Speech2Text.from_pretrained(archive, **DECODE)
    both = Speech2TextEmbedding.from_pretrained(archive, decode="beam", **DECODE)
    texts = dict(line.split(maxsplit=1) for line in joint)
    names = finished.read("data/asr_train/wav.scp").split()[::2]
    for name, speech in zip(names, _recordings(finished, "asr_train"), strict=True):
        assert stock(speech)[0][3] == texts[name]
    text, embedding = both(speech)
    assert text == texts[name]
    assert embedding.isfinite().all()


def test_only_an_adaptor_s_archive_holds_the_asr_model(finished):
    assert "copied 125 of 125 tensors" in finished.read("exp/sv_transfer/train.log")
    for task, holds_asr in (("transfer", False), ("distill", False), ("adaptor", True)):
        with zipfile.ZipFile(_packed(finished, task)) as members:
            assert ("asr/bpe.model" in members.namelist()) == holds_asr


def _packed(recipe, task: str) -> str:
    return str(recipe.folder / f"exp/sv_{task}/sv_{task}.zip")


def _recordings(recipe, name: str) -> list[np.ndarray]:
    paths = recipe.read(f"data/{name}/wav.scp").split()[1::2]
    return [read_audio(str(recipe.folder / path)) for path in paths]
