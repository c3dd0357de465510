"""Files of settings and results, damaged in any way, are read or refused."""

import copy
import json

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet2_sv.errors import SVError
from espnet2_sv.inference.decision import Quality, ScoreDecision
from espnet2_sv.scoring.calibration import Calibration
from espnet2_sv.scoring.comparison_plan import Plan
from espnet2_sv.scoring.espnet_results import espnet_markdown
from espnet2_sv.scoring.results import Layout, layout_markdown, results_markdown

pytestmark = pytest.mark.execution_timeout(200)

CALIBRATION = {
    "format": "espnet2_sv calibration 1",
    "score_weight": 10.0,
    "bias": -3.0,
    "measure_weights": {"duration": [0.1, 0.2]},
    "info": {"n_target": 3},
}
THRESHOLD = {"cosine": 0.3}
METRICS = {
    "list": {"name": "Vox1-O", "note": "All trials."},
    "n_target": 12,
    "n_nontarget": 34,
    "eer": 1.25,
    "eer_ci95": [1.0, 1.5],
    "mindcf_p01": 0.2,
    "mindcf_p01_ci95": None,
    "mindcf_p05": 0.1,
    "cllr": 0.9,
    "min_cllr": 0.05,
    "score_mean_target": 0.5,
    "bootstrap": {"unit": "speakers", "samples": 1000, "seed": 0, "reason": None},
    "environment": {"python": "3.12", "git_hash": "a"},
    "notes": ["test: 1 of 2 speakers was also in training"],
}
SYSTEM = {"parameters": 12, "gmac_per_second": 0.5, "cer_joint": 3.5}
LAYOUT = {
    "sets": {"o": "O"},
    "protocols": [{"title": "Cosine", "kind": "cosine", "suffix": "_lm"}],
    "systems": [{"name": "a", "description": "A", "published": {"cosine": "0.4"}}],
    "published": "published",
    "notes": ["A note."],
}
PLAN = {
    "parts": [{"name": "f1", "trials": "t", "utt2spk": "u"}],
    "systems": [
        {"name": "a", "runs": [{"f1": "s1"}], "description": "A", "system": ["x"]},
        {"name": "b", "runs": [{"f1": "s2"}]},
    ],
    "comparisons": [{"system": "a", "against": "b", "title": "A or B"}],
}

STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.just(10**400),
    st.sampled_from([float("nan"), float("inf"), -1.5, 0.0, 1e308]),
    st.text(max_size=5),
    st.just("x" * 5000),
    st.just([]),
    st.just({}),
    st.recursive(
        st.integers(0, 9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=4,
    ),
)
EVERY = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def places(value, path=()):
    """The paths of all values in nested data."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from places(inner, (*path, key))


@st.composite
def damaged(draw, content):
    """The content with some values replaced, removed or renamed."""
    for _ in range(draw(st.integers(1, 3))):
        content = copy.deepcopy(content)
        path = draw(st.sampled_from(list(places(content))))
        if not path:
            return draw(STRANGE)
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "replace":
            parent[path[-1]] = draw(STRANGE)
        elif how == "remove":
            del parent[path[-1]]
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=4))] = draw(STRANGE)
        if not isinstance(content, dict):
            return content
    return content


def one_line(error: SVError, name: str):
    assert len(str(error).splitlines()) == 1
    assert name in str(error)
    assert len(str(error)) < 1000


@EVERY
@given(damaged(CALIBRATION))
def test_calibrations(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        calibration = Calibration.load(path)
    except SVError as e:
        one_line(e, "calibration.json: ")
        return
    assert calibration.score_weight >= 0
    try:
        decide = ScoreDecision.load(tmp_path)
    except SVError as e:  # a measure that two recordings do not have
        assert "the calibration needs cohort_mean" in str(e)
        return
    assert decide(0.5, Quality(1.0, 2.0), Quality(3.0, 4.0)).decision in (True, False)


@EVERY
@given(damaged(THRESHOLD))
def test_thresholds(tmp_path, content):
    path = tmp_path / "threshold.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        decide = ScoreDecision.load(tmp_path)
    except SVError as e:
        one_line(e, "threshold.json: ")
        return
    assert decide(0.5, Quality(1.0, 2.0), Quality(3.0, 4.0)).decision in (True, False)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"1" * 5000, b"\xff{}", b"", b"{}"])
@pytest.mark.parametrize("name", ["calibration.json", "threshold.json"])
def test_what_is_no_json(tmp_path, name, text):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(SVError, match=name):
        ScoreDecision.load(tmp_path)


@EVERY
@given(damaged(METRICS), damaged(SYSTEM), st.booleans(), st.booleans())
def test_metrics_and_descriptions_of_systems(tmp_path, metrics, system, one, two):
    contents = {
        "metrics.json": metrics if one else METRICS,
        "system.json": system if two else SYSTEM,
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    layout = tmp_path / "layout.yaml"
    layout.write_text(yaml.safe_dump(LAYOUT))
    path = tmp_path / "metrics.json"
    for make in (
        lambda: results_markdown("R", {"a": path}),
        lambda: layout_markdown("R", Layout.read(layout), {"a_lm/o/cosine": path}),
        lambda: espnet_markdown({"a_lm/o/cosine": path}),
    ):
        try:
            make()
        except SVError as e:
            one_line(e, ".json")


@EVERY
@given(damaged(LAYOUT))
def test_layouts(tmp_path, content):
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    path = tmp_path / "layout.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=False), encoding="utf-8")
    try:
        layout = Layout.read(path)
    except SVError as e:
        one_line(e, "layout.yaml: ")
        return
    layout_markdown("R", layout, {"a_lm/o/cosine": tmp_path / "metrics.json"})


@EVERY
@given(damaged(PLAN))
def test_plans(tmp_path, content):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=False), encoding="utf-8")
    try:
        Plan.read(path)
    except SVError as e:
        one_line(e, "plan.yaml: ")


@pytest.mark.parametrize(
    "text",
    [
        "a: 2026-99-99",
        "a: !!int ''",
        f"a: {'1' * 5000}",
        "a: !!python/object/apply:os.system [id]",
        "a: &x [*x]",
        "? [1, 2]\n: 3",
        "[" * 50_000,
        "a: \0",
    ],
)
@pytest.mark.parametrize("read", [Plan.read, Layout.read])
def test_what_is_no_plain_yaml(tmp_path, read, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SVError, match=r"x\.yaml: ") as caught:
        read(tmp_path / "x.yaml")
    one_line(caught.value, "x.yaml")
