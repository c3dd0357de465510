"""Trial lists, scores and attributes from outside are read or refused by line."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.evaluation import evaluate, read_attribute
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.scoring.plots import det_curve, plot_det, plot_histogram
from espnet2_sv.scoring.roc import roc_points
from espnet2_sv.scoring.trials import read_scores, read_trials

pytestmark = pytest.mark.execution_timeout(200)

NO_SCORES = ["1_0", "nan", "NaN", "-inf", "Infinity", "0x1", "1e999", "١", "1,5", "1d3"]


@pytest.mark.parametrize("text", NO_SCORES)
@pytest.mark.parametrize("gap", [" ", "\t", "  "])  # the fast reader takes one space
def test_scores_are_finite_decimal_numbers(tmp_path, text, gap):
    path = tmp_path / "scores"
    path.write_text(f"a b 0.5\na{gap}c{gap}{text}\n", encoding="utf-8")
    with pytest.raises(SVError, match="line 2"):
        read_scores(path)


@pytest.mark.parametrize("text", ["1", "-0.25", "1e-3", ".5", "2.", "+3"])
@pytest.mark.parametrize("gap", [" ", "\t"])
def test_other_numbers_are_what_python_says(tmp_path, text, gap):
    (tmp_path / "scores").write_text(f"a{gap}b{gap}{text}\n")
    assert read_scores(tmp_path / "scores").scores.tolist() == [float(text)]


LINES = [b"utt-a utt-b target", "日本 utt-b nontarget".encode(), b"utt-c utt-b target"]
BAD_BYTES = st.sampled_from([b"\xff", b"\xc3", b"\0", b"\r", b"\n", b" ", b"\xc2\xa0"])


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    place=st.integers(0, 70),
    piece=BAD_BYTES | st.binary(max_size=3),
    cut=st.integers(0, 20),
    scores=st.booleans(),
)
def test_damaged_lists_are_read_or_refused(tmp_path, place, piece, cut, scores):
    text = b"".join(line + b"\n" for line in LINES)
    if scores:
        text = text.replace(b"nontarget", b"-1.5").replace(b"target", b"0.25")
    path = tmp_path / "list"
    path.write_bytes(text[:place] + piece + text[place + cut :])
    try:
        found = (read_scores if scores else read_trials)(path)
    except SVError as e:
        assert len(str(e).splitlines()) == 1
        assert str(e).startswith(f"{path}: ")
    else:  # every name is one that a Kaldi table can have
        path.read_bytes().decode()
        for name in (*found.enroll_names, *found.test_names):
            assert re.fullmatch(r"\S{1,1000}", name)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path):
    path = tmp_path / "trials"
    path.write_bytes(b"a b target\nc\xe9 d target\n")
    with pytest.raises(SVError, match=r"trials: line 2 is not UTF-8"):
        read_trials(path)
    path.write_text("a b target\n")
    (tmp_path / "gender").write_bytes(b"a f\nb \xe9\n")
    with pytest.raises(SVError, match=r"gender: line 2 is not UTF-8"):
        read_attribute(tmp_path / "gender", read_trials(path))


@pytest.mark.parametrize("longest", [1_000_000, 5_000_000])
def test_a_name_of_a_megabyte_is_refused_by_line(tmp_path, longest):
    lines = "".join(f"a{i} b{i} 0.5\n" for i in range(1000))
    (tmp_path / "scores").write_text(lines + "x" * longest + " b 0.5\n")
    with pytest.raises(SVError, match="line 1001 has a name of more than 1000"):
        read_scores(tmp_path / "scores")


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity"])
@pytest.mark.parametrize("by_trial", [True, False])
@pytest.mark.parametrize("count", [3, 30])  # groups, or quartiles of numbers
def test_nan_is_no_group(tmp_path, value, by_trial, count):
    names = [f"u{i}" for i in range(count)]
    trials = "".join(f"{a} {b} nontarget\n" for a in names for b in names if a < b)
    (tmp_path / "trials").write_text(trials)
    values = dict(zip(names, map(str, range(count)), strict=True)) | {names[1]: value}
    lines = [f"{name} {v}\n" for name, v in values.items()]
    if by_trial:
        pairs = [line.split()[:2] for line in trials.splitlines()]
        lines = [f"{a} {b} {values[b] if b == names[1] else 7}\n" for a, b in pairs]
    (tmp_path / "value").write_text("".join(lines))
    with pytest.raises(SVError, match=rf"value: .*{value}"):
        read_attribute(tmp_path / "value", read_trials(tmp_path / "trials"))


@pytest.mark.parametrize(
    "title", ["$x", "$\\frac{1}$", "50 $ and $ more", "\\$^_{", "_x"]
)
def test_any_text_can_be_the_title_of_a_picture(tmp_path, title):
    scores, labels = np.array([0.1, 0.4, 0.3, 0.9]), np.array([0, 0, 1, 1], bool)
    curves = {title: det_curve(roc_points(scores, labels))}
    plot_det(curves, tmp_path / "det.png", title)
    plot_histogram(scores, labels, tmp_path / "scores.png", 0.35, title)
    for name in ("det.png", "scores.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_results_of_files_with_odd_names(tmp_path):
    """A ``$`` in the names of files and groups reaches pictures and tables."""
    (tmp_path / "trials").write_text("a b target\na c nontarget\nb c nontarget\n")
    scores = tmp_path / "$sc$ores|_{"
    scores.write_text("a b 0.5\na c 0.1\nb c 0.3\n")
    attribute = tmp_path / "$gender"
    attribute.write_text("a $f|\nb $f|\nc m\n")
    found = evaluate(
        tmp_path / "trials", scores, attributes=[attribute], resampling=Resampling(0)
    )
    found.write(tmp_path / "out", "a $ title")
    page = (tmp_path / "out/metrics.md").read_text(encoding="utf-8")
    assert "| both $f\\| |" in page and "| different $gender |" in page
