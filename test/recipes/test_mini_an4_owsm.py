"""mini_an4 from a packed OWSM model: three ways, verification and recognition."""

import dataclasses
import shutil
import zipfile
from pathlib import Path

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
DECODE = {"beam_size": 2, "ctc_weight": 0.3}
# a decoder with random weights ends no sentence: a few tokens of 749 frames; OWSM-CTC
# has no decoder, and frames of the speech only
KINDS = {
    "owsm": ("s2t", {"maxlenratio": 0.02}, None),
    "owsm_ctc": ("s2t_ctc", {}, "<eng>"),  # the default of ESPnet's Python class
}


@dataclasses.dataclass
class Finished:
    """The recipe after a run from an archive, which is gone since."""

    folder: Path
    exp: Path
    printed: str
    task: str  # ESPnet's, of the ASR model
    decode: dict  # options of ESPnet's search

    def text(self, name: str) -> list[str]:
        """Lines of a file of the results."""
        return (self.exp / name).read_text(encoding="utf-8").splitlines()

    def packed(self, task: str) -> str:
        """The archive of a speaker model."""
        return str(self.exp / f"sv_{task}/sv_{task}.zip")

    def recordings(self, name: str) -> dict[str, np.ndarray]:
        """The audio of a data set, by utterance."""
        lines = (self.folder / f"data/{name}/wav.scp").read_text().splitlines()
        paths = dict(line.split() for line in lines)
        return {utt: read_audio(self.folder / path) for utt, path in paths.items()}


@pytest.fixture(scope="module")
def recipe(copied_recipe):
    """The recipe with short trainings; data are prepared once for all models."""
    recipe = copied_recipe("mini_an4/sv1")
    for task in TASKS:
        recipe.update_config(f"conf/train_sv_{task}.yaml", SHORT)
    return recipe


@pytest.fixture(scope="module", params=KINDS)
def finished(request, recipe, tmp_path_factory):
    kind = request.param
    task, decode, language = KINDS[kind]
    trained = make_asr(tmp_path_factory.mktemp(kind) / "asr", kind)
    recipe.update_config("conf/train_sv_adaptor.yaml", {"lang_sym": language})
    config = recipe.folder / f"conf/decode_{kind}.yaml"
    config.write_text(yaml.safe_dump(DECODE | decode))
    call = ("./run.sh", "--asr_model", str(trained.pack()), "--expdir", f"exp/{kind}")
    call += ("--asr_decode_config", str(config), "--score_norm", "false")
    done = recipe.run(*call, tasks=" ".join(TASKS))
    assert done.returncode == 0, done.stdout
    shutil.rmtree(trained.root)
    exp = recipe.folder / "exp" / kind
    return Finished(recipe.folder, exp, done.stdout, task, DECODE | decode)


def test_three_ways_train_pack_and_verify(finished):
    assert "Traceback" not in finished.printed
    assert f"transfer: task                 {finished.task}\n" in finished.printed
    [copied] = [x for x in finished.text("sv_transfer/train.log") if "copied" in x]
    assert "0 missing, 0 unexpected" in copied
    page = "\n".join(finished.text("RESULTS.md"))
    first, second, *_ = finished.recordings("test").values()
    for task in TASKS:
        assert f"sv_{task}/test/cosine_calibrated " in page
        with zipfile.ZipFile(finished.packed(task)) as members:
            assert ("asr/bpe.model" in members.namelist()) == (task == "adaptor")
        verifier = SpeakerVerifier.from_pretrained(finished.packed(task))
        same, other = verifier.verify(first, first), verifier.verify(first, second)
        assert same["score"] == pytest.approx(1, abs=1e-5)
        assert -1 <= other["score"] < same["score"]
        assert same["llr"] >= other["llr"]


def test_the_adaptor_recognises_as_espnet_does(finished, tmp_path, monkeypatch):
    # by ESPnet's own command before, by sv_joint after the adaptor was attached
    sets = "sv_adaptor/inference/asr_train"
    joint = finished.text(f"{sets}/joint/text")
    assert sorted(joint) == sorted(finished.text(f"{sets}/asr_alone/1best_recog/text"))
    assert all(len(line.split()) > 1 for line in joint)
    # packed as one model, it is one for ESPnet, too, and gives both at once
    archive = str(tmp_path / "joint.zip")
    monkeypatch.chdir(finished.folder)  # to which paths in the experiment are relative
    exp = f"exp/{finished.exp.name}/sv_adaptor"
    sv_pack.main(["--format", "joint", "--exp", exp, "--output", archive])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # ESPnet unpacks there
    options = finished.decode
    stock = Speech2Text.from_pretrained(archive, **options)
    both = Speech2TextEmbedding.from_pretrained(archive, decode="beam", **options)
    texts = dict(line.split(maxsplit=1) for line in joint)
    for utterance, speech in finished.recordings("asr_train").items():
        assert stock(speech)[0][3] == texts[utterance]
        text, embedding = both(speech)
        assert text == texts[utterance]
        assert embedding.isfinite().all()
