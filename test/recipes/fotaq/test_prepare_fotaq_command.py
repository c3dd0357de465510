import subprocess
import sys

import prepare_fotaq
import pytest

pytestmark = pytest.mark.execution_timeout(600)


@pytest.fixture(scope="module")
def queen(queen_archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("queen")
    return queen_archive.make_queen(folder / "queen.1c", lines=6).path


def test_options_reach_the_preparation(queen, tmp_path):
    options = [
        "--queen",
        str(queen),
        "--output_dir",
        str(tmp_path / "data"),
        "--nj",
        "1",
    ]
    options += [
        "--allow_incomplete",
        "true",
        "--sample_rate",
        "8000",
        "--shortest",
        "3",
    ]
    prepare_fotaq.main(
        [
            *options,
            "--target_trials",
            "2",
            "--nontarget_trials",
            "1",
            "--enroll_utterances",
            "2",
        ]
    )
    trials = (tmp_path / "data/fold2_test/trials").read_text().splitlines()
    assert sum(line.endswith(" target") for line in trials) == 2 * 9
    assert (
        sum(line.endswith("nontarget") for line in trials) == 9 * 8 / 2 - 1
    )  # LOU and SPARKY
    assert (tmp_path / "data/fold2_test2/enroll_spk2utt").exists()
    assert (tmp_path / "data/clips/joined_3s").is_dir()
    assert (tmp_path / "data/clips/source").read_text().endswith(" 8000\n")


def test_what_is_wrong_is_one_line_and_status_1(queen, tmp_path):
    command = [
        sys.executable,
        prepare_fotaq.__file__,
        "--queen",
        str(queen),
    ]
    done = subprocess.run(
        [*command, "--output_dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "clips, not 4,548" in errors[0]
    assert not (tmp_path / "data").exists()
