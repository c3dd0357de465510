"""Kaldi files are UTF-8 in any locale."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import espnet2_sv
from espnet2_sv.data.arks import write_record

pytestmark = pytest.mark.execution_timeout(600)

PACKAGE = Path(espnet2_sv.__file__).resolve().parent
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def without_encoding(tree: ast.AST):
    """Yield the calls that read or write text in the encoding of the locale."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg for keyword in node.keywords}
        if isinstance(node.func, ast.Attribute):
            name, texts = node.func.attr, ("read_text", "write_text")
        else:
            name, texts = getattr(node.func, "id", ""), ("open",)
        if name not in texts or "encoding" in keywords:
            continue
        modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
        # a mode that is a variable is not known
        binary = [not isinstance(m, ast.Constant) or "b" in m.value for m in modes]
        if name != "open" or not any(binary):
            yield node.lineno


@pytest.mark.parametrize("folder", [PACKAGE, PACKAGE.parent / "egs2"])
def test_text_is_read_and_written_as_utf8(folder):
    found = [
        f"{path}:{line}"
        for path in sorted(folder.rglob("*.py"))
        for line in without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


@pytest.mark.parametrize("locale", [ASCII, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}])
def test_scoring_in_a_locale_that_is_not_utf8(tmp_path, locale):
    names = ["ä1", "ä2", "日本", "ü1"]
    folder = tmp_path / "földer"
    folder.mkdir()
    with open(folder / "x.ark", "wb") as ark:
        vectors = np.eye(4, dtype="f4") + 0.1
        offsets = [write_record(ark, n, v) for n, v in zip(names, vectors, strict=True)]
    pairs = zip(names, offsets, strict=True)
    lines = [f"{name} {folder}/x.ark:{offset}\n" for name, offset in pairs]
    files = {
        "x.scp": "".join(lines),
        "trials": "ä1 ä2 target\nä1 日本 nontarget\nä1 ü1 nontarget\n",
        "utt2spk": "ä1 ä\nä2 ä\n日本 日\nü1 ü\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")

    def run(command, *options):
        words = [o.replace("DIR", str(folder)) for o in options]
        done = subprocess.run(
            [sys.executable, "-m", f"espnet2_sv.bin.{command}", *words],
            env=os.environ | locale,
            capture_output=True,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    sides = ["--enroll_scp", "DIR/x.scp", "--test_scp", "DIR/x.scp"]
    scored = ["--trials", "DIR/trials", *sides, "--output", "DIR/scores"]
    assert run("sv_score", *scored).returncode == 0
    assert "日本" in (folder / "scores").read_text(encoding="utf-8")
    metrics = ["--trials", "DIR/trials", "--scores", "DIR/scores", "--title", "é"]
    metrics += ["--utt2spk", "DIR/utt2spk", "--output_dir", "DIR/out"]
    assert run("sv_metrics", *metrics, "--attribute", "DIR/utt2spk").returncode == 0
    page = (folder / "out/metrics.md").read_text(encoding="utf-8")
    assert page.startswith("# é, ")
    assert "ä" in page
    missing = run("sv_score", *scored, "--mean_scp", "DIR/日本")
    assert missing.returncode == 1
    assert missing.stderr.startswith(b"error: ")
