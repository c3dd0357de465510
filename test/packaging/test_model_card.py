"""Model cards as huggingface_hub reads them."""

import json
import zipfile

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from espnet2_sv.bin.sv_pack import main as sv_pack
from espnet2_sv.errors import SVError
from espnet2_sv.packaging.card_data import CardDetails
from espnet2_sv.packaging.pack import pack_model

METRICS = {
    "list": {"name": None, "note": "Some trials."},
    "n_target": 1200,
    "n_nontarget": 3400,
    "eer": 1.23456789,
    "mindcf_p01": 0.25,
    "mindcf_p05": 0.125,
    "cllr": 0.9,
    "min_cllr": 0.05,
    "bootstrap": {"unit": "speakers", "samples": 1000, "reason": None},
}


@pytest.fixture
def exp(new_exp):
    """A training run."""
    return new_exp()


def measure(exp, name, **changes):
    """Write a metrics.json as the recipes do, e.g. of "test/cosine"."""
    path = exp / "inference" / name / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(METRICS | changes))
    return path


def set_config(exp, **settings):
    config = exp / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | settings))


@pytest.fixture
def pack(exp, tmp_path):
    """A function that packs the run and returns its card."""

    def pack(run=exp, **options) -> ModelCard:
        pack_model(run, tmp_path / "model.zip", **options)
        with zipfile.ZipFile(tmp_path / "model.zip") as archive:
            content = archive.read("README.md").decode()
        (tmp_path / "README.md").write_text(content)
        card = ModelCard.load(tmp_path / "README.md")
        assert metadata_load(tmp_path / "README.md") == card.data.to_dict()
        assert str(card) == content
        return card

    return pack


def rows(card):
    """(set, metric, value) of the results in a card's model-index."""
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert card.text.startswith(f"\n# {name}\n")
    return [(r.dataset_name, r.metric_name, r.metric_value) for r in results]


def test_measured_error_rates_are_the_model_index(exp, pack):
    measure(exp, "test/asnorm_calibrated", eer=0.5)
    measure(exp, "test/cosine")
    cleaned = {"name": "VoxCeleb1-O (cleaned)", "note": "Cleaned."}
    measure(exp, "vox/cosine", list=cleaned, eer=2, mindcf_p05=None)
    card = pack()
    assert rows(card) == [
        ("test", "EER (%), cosine", 1.2346),
        ("test", "minDCF 0.01, cosine", 0.25),
        ("test", "minDCF 0.05, cosine", 0.125),
        ("test", "EER (%), AS-norm, calibrated", 0.5),
        ("test", "minDCF 0.01, AS-norm, calibrated", 0.25),
        ("test", "minDCF 0.05, AS-norm, calibrated", 0.125),
        ("VoxCeleb1-O (cleaned)", "EER (%), cosine", 2.0),
        ("VoxCeleb1-O (cleaned)", "minDCF 0.01, cosine", 0.25),
    ]
    results = card.data.eval_results
    assert [r.metric_args for r in results[:3]] == [
        None,
        {"p_target": 0.01},
        {"p_target": 0.05},
    ]
    assert results[0].dataset_args == {"target": 1200, "nontarget": 3400}
    assert results[0].task_type == "speaker-verification"
    assert card.data.metrics == ["eer", "mindcf"]


def test_error_rates_of_other_weights_are_not_taken(exp, new_exp, pack, tmp_path):
    measure(exp, "test/cosine")
    other = new_exp() / "valid.eer.best.pth"
    assert "model-index" not in pack(model_file=other).data.to_dict()
    measured = tmp_path / "of_other" / "dev" / "cosine" / "metrics.json"
    measured.parent.mkdir(parents=True)
    measured.write_text(json.dumps(METRICS | {"eer": 7}))
    card = pack(model_file=other, details=CardDetails(metrics=[measured]))
    assert rows(card)[0] == ("dev", "EER (%), cosine", 7.0)
    assert rows(pack(model_file=exp / "valid.eer.best.pth"))[0][2] == 1.2346


def test_results_are_a_section_and_speeds_make_no_speakers(exp, pack):
    (exp / "RESULTS.md").write_text("# Results\n\n## One set\n\n# of trials: `# 9`\n")
    set_config(exp, speed_perturb_factors=[1.0, 1.1])  # of 4 classes
    text = pack().text
    assert text.count("\n# ") == 1
    assert "\n## Results\n\n### One set\n" in text
    assert "| training speakers | 2, at 2 speeds |" in text


def test_what_is_not_known_is_left_out(pack):
    card = pack()
    assert card.data.to_dict() == {
        "library_name": "espnet",
        "pipeline_tag": "audio-classification",
        "tags": [
            "espnet",
            "espnet2_sv",
            "audio",
            "speaker-verification",
            "speaker-embedding",
        ],
    }
    assert "## Licence\n\nNot stated." in card.text
    assert "@article{cai2024leveraging," in card.text


def test_options_of_the_command_are_in_the_card(exp, tmp_path, capsys):
    measured = measure(exp, "elsewhere/cosine").rename(tmp_path / "metrics.json")
    command = ["--exp", str(exp), "--output", str(tmp_path / "model.zip")]
    command += ["--license", "other", "--license_name", "VoxCeleb terms"]
    command += ["--license_link", "https://example.org/terms", "--language", "en", "zh"]
    command += ["--dataset", "org/voxceleb", "org/noises", "--base_model", "org/asr"]
    sv_pack([*command, "--metrics", str(measured)])
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        card = ModelCard(archive.read("README.md").decode())
    found = card.data.to_dict()
    assert found["license"] == "other"
    assert found["license_name"] == "VoxCeleb terms"
    assert found["license_link"] == "https://example.org/terms"
    assert found["language"] == ["en", "zh"]
    assert found["datasets"] == ["org/voxceleb", "org/noises"]
    assert found["base_model"] == "org/asr"
    assert len(card.data.eval_results) == 3
    assert "[VoxCeleb terms](https://example.org/terms)" in card.text


@pytest.mark.parametrize(
    ("source", "base_model"),
    [
        ("espnet/some_asr", "espnet/some_asr"),
        ("espnet/some_asr@v1", "espnet/some_asr"),
        ("https://huggingface.co/espnet/some_asr", "espnet/some_asr"),
        ("exp/asr_train", None),
        ("/home/ann/asr.zip", None),
        ("../asr", None),
    ],
)
def test_the_base_model_is_the_asr_model_that_has_a_tag(exp, pack, source, base_model):
    set_config(exp, sv_task="transfer", asr_init={"source": source})
    found = pack().data.to_dict()
    assert found.get("base_model") == base_model
    assert found.get("base_model_relation") == (base_model and "finetune")


def test_an_adaptor_is_an_adapter_of_its_asr_model(zoo, pack):
    details = CardDetails(base_model="org/asr")
    card = pack(zoo.adaptor(), package_format="adaptor", details=details)
    assert card.data.base_model_relation == "adapter"
    assert card.data.pipeline_tag == "audio-classification"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"license": "CC BY 4.0"}, "license 'CC BY 4.0' is not understood.*cc-by-4.0"),
        ({"license": "other"}, "license_name and license_link"),
        ({"license": "mit", "license_link": "https://x"}, "only with license other"),
        ({"language": ["English"]}, "language 'English'.*ISO 639"),
        ({"datasets": ["my data"]}, "dataset 'my data'"),
        ({"base_model": "/home/ann/asr"}, "base_model '/home/ann/asr'"),
    ],
)
def test_what_the_hub_would_refuse_is_told_before_packing(options, message):
    with pytest.raises(SVError, match=message):
        CardDetails(**options)


def test_a_file_that_is_no_metrics_is_named(exp, pack):
    measure(exp, "test/cosine", eer="low")
    with pytest.raises(SVError, match=r"metrics\.json: is not a metrics\.json"):
        pack()


@pytest.mark.parametrize(
    "content",
    ["---\ntags: [a\n---\n", "---\n- a\n---\n", "---\nmodel-index:\n- name: a\n---\n"],
)
def test_a_card_of_one_s_own_has_to_be_readable(exp, tmp_path, content):
    own = tmp_path / "README.md"
    own.write_text(content)
    with pytest.raises(SVError, match=r"README\.md: its metadata cannot be read") as e:
        pack_model(exp, tmp_path / "model.zip", options=[own])
    assert "\n" not in str(e.value)


def test_a_card_of_one_s_own_is_packed_as_it_is(exp, tmp_path):
    own = tmp_path / "README.md"
    own.write_text("---\nlicense: mit\n---\n# Mine\n")
    pack_model(exp, tmp_path / "model.zip", options=[own])
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.read("README.md") == own.read_bytes()
