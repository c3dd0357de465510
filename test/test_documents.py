"""What the documents tell a reader to open, type or set exists."""

import pytest
import yaml
from documents import ROOT, documents, problems


def test_links_commands_and_options_of_all_documents_exist():
    found = [
        f"{path.relative_to(ROOT)}: {problem}"
        for path in documents()
        for problem in problems(path.read_text(), path.parent)
    ]
    assert not found, "\n".join(found)


def test_all_documents_are_found():
    found = {str(path.relative_to(ROOT)) for path in documents()}
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "tools/doc/architecture.md",
        "egs2/TEMPLATE/sv1/README.md",
        "egs2/voxceleb/sv1/RESULTS.md",
    } <= found


def shell(line: str) -> str:
    return f"```sh\n{line}\n```\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](NOWHERE.md)", "link NOWHERE.md: there is no NOWHERE.md"),
        ("[a](README.md#nowhere)", "link README.md#nowhere: there is no heading"),
        ("`espnet2_sv/nowhere.py`", "path espnet2_sv/nowhere.py does not exist"),
        ("`ci/{lint,nowhere}.sh`", "path ci/nowhere.sh does not exist"),
        ("`--nowhere true` helps", "option --nowhere is not known"),
        ("`espnet2-sv nowhere`", "espnet2-sv has no verb nowhere"),
        ("| option | meaning |\n|--|--|\n| `nowhere` | |\n", "option nowhere is not"),
        (shell("python3 -m espnet2_sv.bin.nowhere"), "no command espnet2_sv.bin.now"),
        (shell("python3 -m espnet2_sv.bin.sv_pack --where x"), "option --where is not"),
        (shell("espnet2-sv score-norm --top_m 3 # x"), "option --top_m is not known"),
        (shell("espnet2-sv verify \\\n  --modle x"), "option --modle is not known"),
        (shell("egs2/nowhere/sv1/run.sh"), "no script egs2/nowhere/sv1/run.sh"),
        (shell("cd egs2/fotaq/sv1 && ./run.sh --fold 1"), "option --fold is not known"),
        (shell("A=1 egs2/voxceleb/sv1/run.sh --x y"), "option --x is not known"),
        (
            shell('egs2/voxceleb/sv1/run.sh --local_data_opts "--nowhere 1"'),
            "option --nowhere is not known",
        ),
        (
            shell('egs2/mini_an4/sv1/run.sh --sv_args "--max_epochs 1"'),
            "option --max_epochs is not known",
        ),
        (shell("torchrun -m espnet2_sv.bin.sv_train --gpus 1"), "option --gpus is not"),
        (shell("tools/setup_env.sh --pyton python3"), "option --pyton is not known"),
        ("```python\nfrom espnet2_sv import Nobody\n```\n", "espnet2_sv has no Nobody"),
    ],
)
def test_a_mistake_is_found(text, problem):
    (found,) = problems(text, ROOT)
    assert problem in found


def test_what_is_right_is_no_mistake():
    text = (
        "# Use it\n[a](README.md#citation), [b](#use-it), [c](https://no.example)\n"
        "`tools/venv`, `conf/*.yaml`, `espnet2-sv score_norm`, `--top_n 3`, `'`\n"
        + shell('A=1 egs2/voxceleb/sv1/run.sh --sv_args "--max_epoch 1" | tail')
        + shell("egs2/fotaq/sv1/run.sh --quick true; espnet2-sv --help")
        + shell("python -m espnet2_sv.bin.NAME --help")
        + "```python\nfrom espnet2_sv import SpeakerVerifier\n```\n"
    )
    assert problems(text, ROOT) == []


def test_pre_commit_runs_every_check_of_lint():
    lint = (ROOT / "ci/lint.sh").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = " ; ".join(hook["entry"] for repo in hooks for hook in repo["hooks"])
    checkers = ["ruff format", "ruff check", "black", "isort", "pycodestyle", "mypy"]
    checkers += ["shellcheck -x", "perl -c"]
    assert all(name in lint for name in checkers)
    missing = [name for name in checkers if name not in entries]
    assert not missing
