"""The console script ``espnet2-sv VERB``, a second name for every command."""

import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import espnet2_sv
from espnet2_sv.bin import main as console
from espnet2_sv.bin.main import VERBS, main

pytestmark = pytest.mark.execution_timeout(600)

BIN = Path(console.__file__).resolve().parent


def run(*words, plain=True):
    env = os.environ | ({"PLAIN_PYTHON": "1"} if plain else {})
    command = [sys.executable, "-m", "espnet2_sv", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def output(capsys, *words) -> str:
    """Return what a successful call prints."""
    try:
        main(list(words))
    except SystemExit as e:
        assert not e.code
    return capsys.readouterr().out


def test_every_command_is_a_verb():
    commands = [
        path.stem for path in BIN.glob("*.py") if path.stem[:3] in ("sv_", "asr")
    ]
    assert sorted(VERBS.values()) == sorted(commands)


def test_the_package_installs_the_console_script():
    project = tomllib.loads((BIN.parents[1] / "pyproject.toml").read_text())
    target = project["project"]["scripts"]["espnet2-sv"]
    assert pkgutil.resolve_name(target) is main


def test_help_lists_each_verb_on_one_line_of_a_terminal(capsys):
    lines = output(capsys, "--help").splitlines()
    for verb in VERBS:
        assert sum(line.startswith(f"  {verb} ") for line in lines) == 1
    assert max(map(len, lines)) <= 80
    assert "Publish:" in lines
    assert output(capsys).splitlines() == lines


def test_help_starts_without_torch_and_espnet():
    code = (
        "import sys; from espnet2_sv.bin.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'espnet2', 'numpy')))"
    )
    command = [sys.executable, "-c", code]
    env = os.environ | {"PLAIN_PYTHON": "1"}
    assert subprocess.run(command, stdout=subprocess.DEVNULL, env=env).returncode == 0


def test_version(capsys):
    assert output(capsys, "--version") == f"espnet2-sv {espnet2_sv.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(verb, capsys):
    page = output(capsys, verb, "--help")
    assert page.startswith(f"usage: espnet2-sv {verb} [-h]")
    assert output(capsys, verb.replace("-", "_"), "--help") == page
    if not verb.endswith("train"):  # those have ESPnet's options, too
        assert "(default: None)" not in page


def test_a_command_runs_and_its_errors_are_one_line(tmp_path):
    metrics = tmp_path / "RESULTS.md"
    done = run("results", "--output", str(metrics), f"a={tmp_path}/nowhere.json")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/nowhere.json")
    assert "Traceback" not in done.stderr
    layout = Path(__file__).resolve().parents[2] / "egs2/voxceleb/sv1/conf/results.yaml"
    assert (
        run("results", "--output", str(metrics), "--layout", str(layout)).stderr == ""
    )
    assert metrics.read_text().startswith("# Results\n")


def test_usage_errors_name_the_verb(capsys):
    with pytest.raises(SystemExit) as e:
        main(["verify", "--mode", "x"])
    assert e.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("espnet2-sv verify: error: ")
    )


@pytest.mark.parametrize(
    ("word", "hint"), [("verfy", "did you mean verify? "), ("qqq", "")]
)
def test_an_unknown_verb_suggests_the_nearest(word, hint):
    done = run(word, "--help")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: unknown verb '{word}': {hint}espnet2-sv --help lists all verbs\n"
    )


def test_older_spellings_of_options_are_known():
    from espnet2_sv.bin import asr_resolve, sv_pack, sv_results

    for option in ("--output_dir", "--outdir"):
        args = asr_resolve.get_parser().parse_args(["--asr", "a", option, "there"])
        assert args.output_dir == "there"
    for option in ("--output", "--outpath"):
        args = sv_pack.get_parser().parse_args(["--exp", "e", option, "there"])
        assert args.output == "there"
        assert sv_results.get_parser().parse_args([option, "there"]).output == "there"
