import json
import os
from pathlib import Path

import pytest
import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.espnet_results import Experiment, espnet_markdown
from espnet2_sv.scoring.results import Layout

ENVIRONMENT = {"python": "3.12.3 (main)", "espnet": "202611", "torch": "2.14.1+cpu"}
METRICS = {
    "list": {"name": None, "note": ""},
    "n_target": 3,
    "n_nontarget": 4,
    "mindcf_p01": 0.25,
    "mindcf_p05": 0.058184,
    "cllr": 0.9,
    "min_cllr": None,
    "score_mean_target": 0.80151,
    "score_std_target": 0.1,
    "score_mean_nontarget": -0.02,
    "score_std_nontarget": 0.2,
    "bootstrap": {"unit": "speakers", "samples": 9, "reason": None},
    "environment": ENVIRONMENT,
}
CONF = """
sets: {voxceleb1_o: Vox1-O, voxceleb1_e: Vox1-E}
protocols:
-   {title: Plain, kind: cosine}
-   {title: Tuned, kind: asnorm_calibrated, suffix: _lmft}
systems:
-   {name: sv_a, description: first}
-   {name: sv_b, description: second}
-   {description: theirs, published: {cosine: "0.4"}}
"""


@pytest.fixture
def measured(tmp_path):
    """Write metrics of an experiment's set and kind; the EER identifies them."""

    def write(name: str, eer: float, **changes) -> tuple[str, str]:
        path = tmp_path / name / "metrics.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(METRICS | {"eer": eer} | changes))
        os.utime(path, (0, 86400 * 365.25 * 56.5))  # in the middle of 2026
        return name, str(path)

    return write


def tables(page: str) -> dict[str, list[list[str]]]:
    """Cells of each table below the paragraph in front of it."""
    found, title = {}, ""
    for line in page.splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if set(cells) - {"---", "---:"}:
                found.setdefault(title, []).append(cells)
        elif line:
            title = line
    return found


def test_the_page_has_the_form_of_espnets_recipes(measured):
    systems = dict([measured("sv_a/test/cosine", 0.73912), measured("sv_b/test/x", 2)])
    experiments = {"sv_a": Experiment("conf/train_sv_a.yaml", "org/name")}
    page = espnet_markdown(systems, experiments)
    # the first table of voxceleb/spk1's README.md
    assert tables(page)["Overall results on test"] == [
        ["Model (conf name)", "EER(%)", "minDCF", "Note", "Huggingface"],
        [
            "[conf/train_sv_a.yaml](conf/train_sv_a.yaml)",
            "0.739",
            "0.0582",
            "sv_a, cosine",
            "https://huggingface.co/org/name",
        ],
        ["sv_b", "2.000", "0.0582", "sv_b, x", ""],
    ]
    # what show_spk_result.py writes per model, and show_asr_result.sh about git
    block = page[page.index("## Environments - conf/train_sv_a.yaml\n") :]
    lines = block.split("\n## ")[0].splitlines()
    assert lines[1].startswith("date: `2026-0")
    assert lines[2:6] == [
        "",
        "- python version: `3.12.3 (main)`",
        "- espnet version: `espnet 202611`",
        "- pytorch version: `pytorch 2.14.1+cpu`",
    ]
    assert [line for line in lines[6:] if line and "---" not in line] == [
        "|  | Mean | Std |",
        "| Target, test, cosine | 0.8015 | 0.1000 |",
        "| Non-target, test, cosine | -0.0200 | 0.2000 |",
        "| Model name | EER(%) | minDCF |",
        "| sv_a, test, cosine | 0.739 | 0.05818 |",
    ]


def test_results_of_two_environments_are_not_mixed(measured):
    other = ENVIRONMENT | {"git_hash": "a" * 40, "git_date": "Mon"}
    names = ["sv_a/o/cosine", "sv_a/e/cosine", "sv_a/h/cosine"]
    systems = dict(
        [
            measured(names[0], 1.0),
            measured(names[1], 2.0, environment=other),
            measured(names[2], 3.0),
        ]
    )
    first, second = espnet_markdown(systems).split("\n## Environments - sv_a\n")[1:]
    assert "sv_a, o, cosine" in first and "sv_a, h, cosine" in first
    assert "sv_a, e, cosine" in second and "sv_a, o, cosine" not in second
    assert f"- Git hash: `{'a' * 40}`\n  - Commit date: `Mon`\n" in second
    assert "Git" not in first


def test_experiments_with_one_configuration_have_headings_of_their_own(measured):
    systems = dict([measured(f"sv_{name}/o/cosine", 1.0) for name in "abc"])
    same = Experiment("conf/a.yaml")
    known = {"sv_a": same, "sv_b": same, "sv_c": Experiment("conf/c.yaml")}
    lines = espnet_markdown(systems, known).splitlines()
    assert [line[18:] for line in lines if line.startswith("## Environments - ")] == [
        "conf/a.yaml (sv_a)",
        "conf/a.yaml (sv_b)",
        "conf/c.yaml",
    ]


def test_cells_of_a_layout_without_measurement_are_empty(measured, tmp_path):
    (tmp_path / "layout.yaml").write_text(CONF)
    layout = Layout.read(tmp_path / "layout.yaml")
    empty = espnet_markdown({}, None, layout)
    assert "## Environments" not in empty
    systems = dict(
        [
            measured("sv_b/voxceleb1_e/cosine", 1.0),
            measured("sv_new/voxceleb1_e/cosine", 2.0),
            measured("sv_a/voxceleb1_e/asnorm", 3.0),  # in no protocol
            measured("sv_a/calib/cosine", 4.0),
        ]
    )
    page = tables(espnet_markdown(systems, {"sv_b": Experiment("conf/b.yaml")}, layout))
    nothing = [
        ["first", "", "", "sv_a, cosine", ""],
        ["second", "", "", "sv_b, cosine", ""],
        ["first", "", "", "sv_a_lmft, AS-norm, calibrated", ""],
        ["second", "", "", "sv_b_lmft, AS-norm, calibrated", ""],
    ]
    known = ["[conf/b.yaml](conf/b.yaml)", *nothing[1][1:]]
    assert page["Overall results on Vox1-O"][1:] == [nothing[0], known, *nothing[2:]]
    assert tables(empty)["Overall results on Vox1-E"][1:] == nothing
    assert page["Overall results on Vox1-E"][1:] == [
        nothing[0],
        ["[conf/b.yaml](conf/b.yaml)", "1.000", "0.0582", "sv_b, cosine", ""],
        *nothing[2:],
        ["sv_new", "2.000", "0.0582", "sv_new, cosine", ""],
    ]


def test_results_of_earlier_versions_have_no_environment(measured):
    name, path = measured("sv_a/test/cosine", 1.0, environment=None)
    file = Path(path)
    metrics = json.loads(file.read_text())
    for key in ("environment", "score_mean_target"):
        del metrics[key]
    file.write_text(json.dumps(metrics))
    page = espnet_markdown({name: path})
    assert "version:" not in page
    assert "| Target, test, cosine |  | 0.1000 |" in page


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": ["x"]},
        {"environment": {"python": 3}},
        {"environment": {"python": "a\n# b"}},
        {"environment": {"python": "`"}},
        {"score_mean_target": "high"},
        {"n_target": None},
    ],
)
def test_other_metrics_are_refused_by_name(measured, changes):
    systems = dict([measured("sv_a/test/cosine", 1.0, **changes)])
    with pytest.raises(SVError, match=r"metrics\.json: is not a metrics\.json"):
        espnet_markdown(systems)


def test_names_are_experiment_set_kind(measured):
    assert "sv/inference_x" in espnet_markdown(
        dict([measured("sv/inference_x/test/cosine", 1.0)])
    )
    with pytest.raises(SVError, match="test/cosine: name results EXPERIMENT/SET/KIND"):
        espnet_markdown(dict([measured("test/cosine", 1.0)]))


def test_what_an_experiment_s_folder_says_of_it(tmp_path):
    assert Experiment.read(tmp_path) == Experiment()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"config": "conf/a.yaml"}))
    (tmp_path / "hub.json").write_text('{"repo": "org/name"}')
    assert Experiment.read(tmp_path) == Experiment("conf/a.yaml", "org/name")
    (tmp_path / "config.yaml").write_text("config: null")
    assert Experiment.read(tmp_path) == Experiment("", "org/name")
    for name, text in (
        ("config.yaml", "config: [a]"),
        ("config.yaml", "- a"),
        ("config.yaml", "config: 'a](b) | c'"),
        ("config.yaml", 'config: "a\\nb"'),
        ("hub.json", '{"repo": "../x"}'),
        ("hub.json", '{"repo": "a b/c"}'),
        ("hub.json", "[]"),
    ):
        good = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text)
        with pytest.raises(SVError, match=name):
            Experiment.read(tmp_path)
        (tmp_path / name).write_text(good)
