"""Speaker models from OWSM-CTC, whose encoder reads symbols for language and task."""

import json

import asr_models
import pytest
import torch
import yaml
from training import SMALL_ADAPTOR, refused

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.bin.sv_teacher_posteriors import main as write_posteriors
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.tasks.distill import SVDistillTask
from espnet2_sv.tasks.transfer import SVTransferTask

pytestmark = pytest.mark.execution_timeout(300)

ENGLISH = {"lang_sym": "<eng>", "task_sym": "<st_deu>"}


@pytest.fixture(scope="module")
def owsm_ctc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owsm_ctc") / "recipe"
    return asr_models.train(folder, asr_models.published("owsm_ctc_v4")).exp


@pytest.fixture
def train(training_command, owsm_ctc):
    """A function that trains three steps, or resumes a training."""

    def run(task, folder, *more, **options):
        options = {"asr": owsm_ctc, "resume": "true"} | options
        task.main(cmd=[*training_command(folder, **options), *more])
        return folder

    return run


def config(folder) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())


def symbols(folder) -> tuple:
    return config(folder)["lang_sym"], config(folder)["task_sym"]


def embed(folder) -> torch.Tensor:
    audio = 0.1 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    model, _ = load_speaker_model(folder)
    with torch.no_grad():
        return model.embed(audio, torch.tensor([9000]))


def test_transfer(train, owsm_ctc, tmp_path):
    start = train(
        SVTransferTask, tmp_path / "start", optim_conf="lr=0.0", freeze_encoder_epochs=1
    )
    assert symbols(start) == ("<nolang>", "<asr>")
    ours = load_speaker_model(start)[0].backbone
    asr = load_asr_bundle(owsm_ctc)
    speech = torch.randn(2, 9000), torch.tensor([9000, 9000])
    with torch.no_grad():
        for found, expected in zip(
            ours(*speech)[0], asr.backbone()(*speech)[0], strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

    options = {"freeze_encoder_epochs": 0, "asr_num_blocks": 2, **ENGLISH}
    trained = train(SVTransferTask, tmp_path / "trained", **options)
    assert symbols(trained) == ("<eng>", "<st_deu>")
    model, _ = load_speaker_model(trained)  # without the ASR model
    assert model.backbone.num_blocks == 2
    prompt = asr.backbone(*ENGLISH.values()).prompt
    assert not torch.equal(model.backbone.prompt.prefix, prompt.prefix)  # trained
    assert torch.equal(model.backbone.prompt.memory, prompt.memory)  # no block reads it
    # of the 24 tokens' embeddings and the prompt encoder nothing is left
    state = torch.load(trained / "latest.pth", weights_only=True)
    assert not [name for name in state if "embed." in name and "encoder." not in name]
    before = state["backbone.prompt.prefix"]
    train(SVTransferTask, trained, **options, max_epoch=2)  # resumes
    state = torch.load(trained / "latest.pth", weights_only=True)
    assert not torch.equal(state["backbone.prompt.prefix"], before)
    assert symbols(trained) == ("<eng>", "<st_deu>")
    options["lang_sym"] = "<deu>"
    refused(
        lambda: train(SVTransferTask, trained, **options, max_epoch=3),
        "trained with lang_sym <eng>, not <deu>",
    )
    fine_tuning = {"asr": "", "init_sv": trained}
    refused(
        lambda: train(
            SVTransferTask, tmp_path / "tuned", **fine_tuning, lang_sym="<deu>"
        ),
        "lang_sym is <deu> in this training but <eng>",
    )
    tuned = train(SVTransferTask, tmp_path / "tuned", **fine_tuning)
    assert symbols(tuned) == ("<eng>", "<st_deu>")


def test_adaptor(train, owsm_ctc, tmp_path):
    def run(folder, **options):
        return train(SVAdaptorTask, folder, *SMALL_ADAPTOR, **options)

    default, english = run(tmp_path / "a"), run(tmp_path / "b", **ENGLISH)
    assert symbols(default) == ("<nolang>", "<asr>")
    assert symbols(english) == ("<eng>", "<st_deu>")
    state = torch.load(english / "latest.pth", weights_only=True)
    assert {name.split(".")[0] for name in state} == {"head", "loss", "backbone"}
    assert [name for name in state if name.startswith("backbone.")] == [
        "backbone.asr_sha256"
    ]
    model, _ = load_speaker_model(english)
    prompt = load_asr_bundle(owsm_ctc).backbone(*ENGLISH.values()).prompt
    assert torch.equal(model.backbone.frozen_module.prompt.prefix, prompt.prefix)
    run(english, max_epoch=2)  # resumes, though the symbols are not given again
    assert symbols(english) == ("<eng>", "<st_deu>")
    refused(
        lambda: run(english, max_epoch=3, lang_sym="<deu>"),
        "trained with lang_sym <eng>, not <deu>",
    )
    tuned = run(tmp_path / "tuned", asr="", init_sv=english)
    assert symbols(tuned) == ("<eng>", "<st_deu>")
    refused(
        lambda: run(tmp_path / "c", lang_sym="<xyz>"), r"lang_sym '<xyz>' .*such as"
    )


def test_distillation(train, owsm_ctc, tmp_path, corpus):
    options = {"freeze_encoder_epochs": 0, "init_asr": "teacher", **ENGLISH}
    no_blocks = ("--branch_conf", "num_blocks=0")
    trained = train(SVDistillTask, tmp_path / "exp", *no_blocks, **options)
    teacher = config(trained)["asr_teacher"]
    assert (teacher["lang_sym"], teacher["task_sym"]) == ("<eng>", "<st_deu>")
    assert symbols(trained) == ("<eng>", "<st_deu>")
    assert embed(trained).shape == (1, 8)
    # precomputed posteriors give the same loss, but only for the same prompt
    posteriors = tmp_path / "posteriors"
    command = [f"--asr={owsm_ctc}", f"--wav_scp={corpus.root}/wav.scp", "--top_k=5"]
    command += [f"--output_dir={posteriors}"]
    write_posteriors([*command, "--lang_sym=<eng>"])
    assert json.loads((posteriors / "teacher.json").read_text())["prompt"] == (
        "<eng> <asr>"
    )
    options |= {"teacher_posteriors": posteriors, "kd_conf": "top_k=5"}
    refused(
        lambda: train(SVDistillTask, tmp_path / "other", *no_blocks, **options),
        "made with prompt <eng> <asr>, this training has <eng> <st_deu>",
    )
    options["task_sym"] = "<asr>"
    cached = train(SVDistillTask, tmp_path / "cached", *no_blocks, **options)
    assert config(cached)["asr_teacher"]["task_sym"] == "<asr>"


def test_a_symbol_without_an_encoder_that_reads_it(train, asr_exp, tmp_path):
    for task in (SVTransferTask, SVAdaptorTask, SVDistillTask):
        refused(
            lambda task=task: train(
                task, tmp_path / "exp", asr=asr_exp, lang_sym="<eng>"
            ),
            "lang_sym '<eng>': the encoder of this ASR model reads no symbol",
        )
