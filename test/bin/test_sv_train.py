"""Which of the four training tasks a command runs, and with which options."""

import subprocess
import sys

import pytest
import yaml

from espnet2_sv.bin import sv_distill_train, sv_train, sv_transfer_train
from espnet2_sv.errors import SVError
from espnet2_sv.tasks import get_task

pytestmark = pytest.mark.execution_timeout(600)


def configuration(*words) -> dict:
    """Return the default settings of a training command."""
    command = [sys.executable, "-m", "espnet2_sv", *words, "--print_config"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return yaml.safe_load(done.stdout)


@pytest.fixture
def config(tmp_path):
    """Writes a training configuration and returns its path."""

    def write(**settings) -> str:
        path = tmp_path / "train.yaml"
        path.write_text(yaml.safe_dump(settings))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("task", "module"),
    [
        ("transfer", "espnet2_sv.tasks.transfer"),
        ("adaptor", "espnet2_sv.tasks.adaptor"),
        ("distill", "espnet2_sv.tasks.distill"),
    ],
)
def test_one_command_trains_what_four_do(task, module):
    assert get_task(task).__module__ == module
    found = configuration("train", "--sv_task", task)
    assert found["sv_task"] == task
    assert found == configuration(f"{task}-train")


def test_the_task_is_taken_from_the_command_line_or_else_from_the_config(config):
    written = config(sv_task="adaptor")
    assert sv_train.choose_task(["--config", written]) == "adaptor"
    assert sv_train.choose_task(["--config", written, "--sv_task", "distill"]) == (
        "distill"
    )
    assert sv_train.choose_task(["--config", config(max_epoch=3)]) == "scratch"
    assert sv_train.choose_task(["--max_epoch", "3"]) == "scratch"


def test_a_config_with_the_task_of_the_command_is_accepted(config, tmp_path):
    # far enough to miss the data
    with pytest.raises(SVError, match="--spk2utt is required"):
        sv_transfer_train.main(
            ["--config", config(sv_task="transfer"), "--output_dir", str(tmp_path)]
        )


def test_another_task_is_refused(config):
    with pytest.raises(SVError, match="sv_task is adaptor, but this command trains"):
        sv_transfer_train.main(["--config", config(sv_task="adaptor")])
    with pytest.raises(SVError, match="sv_task is scratch, but this command trains"):
        sv_distill_train.main(["--sv_task", "scratch"])


def test_an_unknown_task_is_named(config):
    with pytest.raises(SVError, match="unknown sv_task 'tranfer'"):
        sv_train.main(["--config", config(sv_task="tranfer")])


def test_help_shows_the_options_of_the_task(capsys):
    with pytest.raises(SystemExit):
        sv_train.main(["--sv_task", "distill", "--help"])
    assert "--teacher_posteriors" in capsys.readouterr().out
