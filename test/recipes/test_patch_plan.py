"""The order of the series of patches, on small packages and on this project."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT / "tools" / "upstream"
LIMITS = {"max_files": 30, "max_lines": 1500}


@pytest.fixture(scope="module")
def plan():
    """The module that orders the files."""
    spec = importlib.util.spec_from_file_location(
        "patch_plan", UPSTREAM / "patch_plan.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["patch_plan"] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    return module


PACKAGE = {
    "espnet2_sv/__init__.py": "",
    "espnet2_sv/a/__init__.py": "",
    "espnet2_sv/a/low.py": "import torch",
    "espnet2_sv/a/lazy.py": "def f():\n    from espnet2_sv.b import high",
    "espnet2_sv/b/__init__.py": "",
    "espnet2_sv/b/high.py": "from espnet2_sv.a.low import x",
}
A_THEN_B = [
    {"title": "a", "files": ["espnet2_sv/*"]},
    {"title": "b", "files": ["espnet2_sv/b/*"]},
]


def parts_of_tests(plan, tests: dict[str, str], package=PACKAGE) -> dict[str, int]:
    texts = package | {f"test/espnet2_sv/{name}": text for name, text in tests.items()}
    parts = plan.assign(plan.Files(texts), A_THEN_B)
    return {name: parts.get(f"test/espnet2_sv/{name}") for name in tests}


def test_a_test_comes_once_all_is_there_that_it_runs(plan):
    parts = parts_of_tests(
        plan,
        {
            "test_low.py": "from espnet2_sv.a.low import x",
            "test_lazy.py": "import espnet2_sv.a.lazy",
            "test_command.py": "run('python -m espnet2_sv.b.high')",
            "test_type.py": "if TYPE_CHECKING:\n    import espnet2_sv.b.high",
        },
    )
    assert parts == {
        "test_low.py": 0,
        "test_lazy.py": 1,
        "test_command.py": 1,
        "test_type.py": 0,
    }


def test_what_tests_share_comes_with_the_first_that_uses_it(plan):
    parts = parts_of_tests(
        plan,
        {
            "conftest.py": "def net():\n    from nets import net\n\ndef plain(): pass",
            "nets.py": "import espnet2_sv.b.high",
            "notes.py": "",
            "test_net.py": "def test(net): pass",
            "test_plain.py": "def test(plain): read('published/x.yaml')",
            "published/x.yaml": "a: 1",
            "worker.py": "import espnet2_sv.b.high",
            "test_worker.py": "start(HERE / 'worker.py')",
        },
    )
    assert parts == {
        "conftest.py": 0,
        "nets.py": 1,
        "notes.py": None,  # nothing uses it
        "test_net.py": 1,
        "test_plain.py": 0,
        "published/x.yaml": 0,
        "worker.py": 1,
        "test_worker.py": 1,
    }


def test_an_import_of_a_later_part(plan):
    package = PACKAGE | {"espnet2_sv/a/low.py": "import espnet2_sv.b.high"}
    with pytest.raises(
        plan.PlanError, match=r"a/low.py imports .* of the later part 'b'"
    ):
        parts_of_tests(plan, {}, package)


def test_a_file_in_no_part(plan):
    files = plan.Files(PACKAGE)
    with pytest.raises(plan.PlanError, match="is in no part"):
        plan.assign(files, A_THEN_B[1:])


def test_limits(plan):
    lines = "\n" * 100
    texts = {f"espnet2_sv/m{i}.py": lines for i in range(7)}
    divided = plan.patches(plan.Files(texts), texts, max_files=30, max_lines=350)
    assert [len(patch) for patch in divided] == [3, 3, 1]
    few = list(texts)[:4]
    divided = plan.patches(plan.Files(texts), few, max_files=30, max_lines=350)
    assert [len(patch) for patch in divided] == [2, 2]  # not 3 and 1
    divided = plan.patches(plan.Files(texts), texts, max_files=2, max_lines=1500)
    assert max(len(patch) for patch in divided) == 2
    with pytest.raises(plan.PlanError, match=r"m0.py cannot be .* 1 files, 100 lines"):
        plan.patches(plan.Files(texts), texts, max_files=30, max_lines=99)


def test_modules_that_import_each_other_stay_together(plan):
    texts = {
        "espnet2_sv/p/__init__.py": "from espnet2_sv.p.one import x",
        "espnet2_sv/p/one.py": "x = 1\n" * 6,
        "espnet2_sv/p/two.py": "import espnet2_sv.p\n" * 6,
    }
    divided = plan.patches(plan.Files(texts), texts, max_files=30, max_lines=7)
    assert divided == [
        ["espnet2_sv/p/__init__.py", "espnet2_sv/p/one.py"],
        ["espnet2_sv/p/two.py"],
    ]


def test_tests_come_with_their_module(plan):
    texts = {
        "espnet2_sv/one.py": "\n" * 5,
        "espnet2_sv/two.py": "\n" * 5,
        "test/espnet2_sv/test_one.py": "import espnet2_sv.one",
        "test/espnet2_sv/test_two.py": "import espnet2_sv.two",
    }
    divided = plan.patches(plan.Files(texts), texts, max_files=2, max_lines=50)
    assert divided == [
        ["espnet2_sv/one.py", "test/espnet2_sv/test_one.py"],
        ["espnet2_sv/two.py", "test/espnet2_sv/test_two.py"],
    ]


def test_this_project_in_order(plan):
    """Each module is in one patch, after what it imports."""
    listed = subprocess.run(
        ["git", "ls-files", "espnet2_sv/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not listed:
        pytest.skip("not a git repository")
    texts = {path: (ROOT / path).read_text() for path in listed}
    settings = yaml.safe_load((UPSTREAM / "patches.yaml").read_text())
    parts = [
        {**part, "files": [p for p in part["files"] if p.startswith("espnet2_sv")]}
        for part in settings["parts"]
        if "files" in part
    ]
    files = plan.Files(texts)
    part_of = plan.assign(files, parts)
    there: list[str] = []
    for i in range(len(parts)):
        here = [path for path in part_of if part_of[path] == i]
        for patch in plan.patches(files, here, **LIMITS):
            there += patch
            for path in patch:
                assert imported(ast.parse(texts[path]).body, set(listed)) <= set(there)
    assert sorted(there) == sorted(listed)


def imported(body: list[ast.stmt], files: set[str]) -> set[str]:
    """Files of the package that top-level imports name."""
    names = set()
    for node in body:
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    stems = {name.replace(".", "/") for name in names}
    return {f for s in stems for f in (f"{s}.py", f"{s}/__init__.py")} & files
