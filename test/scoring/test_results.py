import json

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.results import Layout, layout_markdown, results_markdown

METRICS = {
    "list": {"name": None, "note": "Two trials."},
    "n_target": 1200,
    "n_nontarget": 3400,
    "n_speakers": 40,
    "eer": 1.25,
    "eer_ci95": [1.0, 1.5],
    "mindcf_p01": 0.2,
    "mindcf_p01_ci95": None,
    "mindcf_p05": 0.1,
    "mindcf_p05_ci95": None,
    "cllr": 0.9,
    "min_cllr": 0.05,
    "bootstrap": {"unit": "speakers", "samples": 1000, "seed": 0, "reason": None},
}


@pytest.fixture
def system(tmp_path):
    def write(name, system=None, **changes):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps(METRICS | changes))
        if system is not None:
            (folder / "system.json").write_text(json.dumps(system))
        return str(folder / "metrics.json")

    return write


def rows(page: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("|") and "---" not in line
    ]


def test_one_row_per_system_in_order(system):
    page = results_markdown(
        "My results", {"b": system("b"), "a": system("a", eer=0.5, eer_ci95=None)}
    )
    assert page.startswith("# My results\n")
    head, first, second = rows(page)
    assert head == [
        "system",
        "target + nontarget trials",
        "EER (%)",
        "minDCF 0.01",
        "minDCF 0.05",
        "Cllr (bits)",
        "min Cllr (bits)",
    ]
    assert first[:4] == ["b", "1,200 + 3,400", "1.250 [1.000, 1.500]", "0.200"]
    assert second[:3] == ["a", "1,200 + 3,400", "0.500"]
    assert "1000 bootstrap samples of speakers" in page


def test_system_json_adds_columns(system):
    extra = {"parameters": 130676352, "training_minutes": 12.34, "comment": "ignored"}
    page = results_markdown("R", {"a": system("a", extra), "b": system("b")})
    head, first, second = rows(page)
    assert head[-2:] == ["parameters", "training (min)"]
    assert first[-2:] == ["130,676,352", "12.3"]
    assert second[-2:] == ["", ""]


def test_notes_explain_the_intervals(system):
    by_trial = {"unit": "trials", "samples": 9, "seed": 0, "reason": None}
    none = {"unit": "speakers", "samples": 9, "seed": 0, "reason": "2 speakers"}
    page = results_markdown(
        "R", {"a": system("a", bootstrap=by_trial), "b": system("b", bootstrap=none)}
    )
    assert "too narrow" in page
    assert "Some intervals are missing: 2 speakers." in page


def test_names_the_bad_file(system, tmp_path):
    with pytest.raises(SVError, match=r"ghost: cannot be read"):
        results_markdown("R", {"a": tmp_path / "ghost"})
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(SVError, match=r"x\.json: is not JSON"):
        results_markdown("R", {"a": tmp_path / "x.json"})
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(SVError, match=r"x\.json: is not a metrics\.json"):
        results_markdown("R", {"a": tmp_path / "x.json"})
    with pytest.raises(SVError, match=r"system\.json: is not a JSON object"):
        results_markdown("R", {"a": system("a", system=[])})


CONF = """
sets: {set_o: O, set_e: E}
protocols:
-   {title: Plain, kind: cosine}
-   {title: Tuned, kind: asnorm, suffix: _lmft}
systems:
-   name: sv_a
    description: first
    published: {cosine: 0.5 / 0.7}
-   description: theirs
    published: {asnorm: 0.4 on O}
published: published (O / E)
notes: [A note.]
"""


@pytest.fixture
def layout(tmp_path):
    path = tmp_path / "results.yaml"
    path.write_text(CONF)
    return Layout.read(path)


@pytest.fixture
def measured(tmp_path):
    """Write the metrics of an experiment's set and kind; the EER identifies them."""

    def write(name: str, eer: float) -> tuple[str, str]:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        metrics = {"eer": eer, "eer_ci95": [eer - 0.1, eer + 0.1], "mindcf_p01": 0.25}
        bootstrap = {"reason": None, "samples": 9, "unit": "speakers"}
        metrics |= {
            "mindcf_p05": 0.125,
            "cllr": 0.5,
            "min_cllr": None,
            "n_target": 3,
            "n_nontarget": 4,
            "bootstrap": bootstrap,
            "list": {"name": "L", "note": ""},
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "system.json").write_text(
            '{"parameters": 1234, "gmac_per_second": 0.5}'
        )
        return name, str(folder / "metrics.json")

    return write


def tables(page: str) -> dict[str, list[list[str]]]:
    """Cells of the rows below each heading."""
    found = {}
    for part in page.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")][2:]
        found[title] = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in lines
        ]
    return found


def test_cells_without_measurement_are_empty(layout):
    page = layout_markdown("T", layout, {})
    found = tables(page)
    assert found["Plain"] == [["first", *[""] * 8, "0.5 / 0.7"]]
    assert found["Tuned"] == [["first", *[""] * 9], ["theirs", *[""] * 8, "0.4 on O"]]
    assert "A note." in page


def test_measured_cells_are_in_the_row_and_table_of_their_protocol(layout, measured):
    systems = dict(
        [
            measured("sv_a/set_e/cosine", 2.0),
            measured("sv_a/set_e/asnorm", 3.0),  # not fine-tuned: in neither table
            measured("sv_a_lmft/set_o/asnorm", 1.0),
            measured("sv_new/set_o/cosine", 4.0),
            measured("sv_a/calib/cosine", 5.0),
        ]
    )
    page = layout_markdown("T", layout, systems)
    found = tables(page)
    numbers = ["0.250", "0.125"]
    size = ["1,234", "0.500"]
    assert found["Plain"] == [
        ["first", "", "", "", "2.000 [1.900, 2.100]", *numbers, *size, "0.5 / 0.7"],
        ["sv_new", "4.000 [3.900, 4.100]", *numbers, "", "", "", *size, ""],
    ]
    assert found["Tuned"][0] == [
        "first",
        "1.000 [0.900, 1.100]",
        *numbers,
        *[""] * 3,
        *size,
        "",
    ]
    assert "9 bootstrap samples of speakers" in page


@pytest.mark.parametrize(
    "conf", ["", "sets: {}", CONF + "more: 1", CONF.replace("kind", "sort"), "a: ["]
)
def test_other_files_are_refused(conf, tmp_path):
    path = tmp_path / "results.yaml"
    path.write_text(conf)
    with pytest.raises(SVError, match=r"results\.yaml: is not (a layout|YAML)"):
        Layout.read(path)
    with pytest.raises(SVError, match="cannot be read"):
        Layout.read(tmp_path / "none.yaml")
