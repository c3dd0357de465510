"""What the stages read from YAML and JSON by scripts/read_config.py."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.execution_timeout(600)

PROGRAM = (
    Path(__file__).resolve().parents[1] / "egs2/TEMPLATE/sv1/scripts/read_config.py"
)
CONFIG = """
# augment_conf: {noise: [{scp: comment.scp}]}
max_epoch: 10
loss_conf: {scale: 32, margin: 0.2}
augment_conf:
    noise:
    -   {scp: data/noise.scp, snr: [0, 15]} # scp: other.scp
    -   snr: [5, 15]
        scp: data/music.scp
    -   snr: [0, 5]
    rir: {weight: 1.0, scp: data/rirs.scp}
"""


def read(*args) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, PROGRAM, *args], capture_output=True, text=True, check=False
    )


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(CONFIG)
    return path


def test_augmentation_lists_are_those_that_the_configuration_names(config):
    found = read("augmentation_lists", config).stdout.split()
    assert found == [f"data/{name}.scp" for name in ("noise", "music", "rirs")]


def test_a_value_is_printed_in_full(config, tmp_path):
    assert read("get", config, "max_epoch").stdout == "10\n"
    assert read("get", config, "absent").stdout == ""
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"eer_threshold": 1.25e-05, "none": null}')
    assert float(read("get", metrics, "eer_threshold").stdout) == 1.25e-05
    assert read("get", metrics, "none").stdout == ""


def test_all_but_some_keys_are_printed_as_yaml(tmp_path):
    config = tmp_path / "decode.yaml"
    config.write_text("beam_size: 3 # of ESPnet\nctc_weight: 0.5\nlang_sym: <eng>\n")
    printed = read("without", config, "ctc_weight", "absent").stdout
    assert yaml.safe_load(printed) == {"beam_size": 3, "lang_sym": "<eng>"}


def test_training_settings_change_with_what_changes_the_model(config):
    def settings(text: str, arguments: str) -> list[str]:
        config.write_text(text)
        return read("training_settings", config, arguments).stdout.splitlines()

    before = settings(CONFIG, "--lr 1 --max_epoch 3")
    assert "loss_conf.margin: 0.2" in before
    same = CONFIG.replace("max_epoch: 10", "max_epoch: 20").replace(
        "# aug", "# see aug"
    )
    assert settings(same, "--lr 1 --max_epoch=4") == before
    other = settings(CONFIG.replace("0.2", "0.3"), "--lr 1 --max_epoch 3")
    assert set(other) - set(before) == {"loss_conf.margin: 0.3"}
    assert settings(CONFIG, "--lr 2 --max_epoch 3") != before


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", "a: [1"), ("a.json", "{"), ("a.yaml", "- 1"), ("absent.yaml", None)],
)
def test_an_unusable_file_is_one_line_that_names_it(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    done = read("get", tmp_path / name, "a")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / name) in done.stderr


def test_noises_without_a_list_are_named(config):
    assert read("unlisted_noises", config).stdout == '{"snr": [0, 5]}\n'
    config.write_text("augment_conf: {rir: {scp: a}}\n")
    assert read("unlisted_noises", config).stdout == ""
