import json

import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.report import markdown_table
from espnet2_sv.scoring.results import results_markdown

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
        "trials",
        "EER (%)",
        "minDCF 0.01",
        "minDCF 0.05",
        "Cllr",
        "min Cllr",
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


def test_what_intervals_mean_is_said(system):
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


def test_a_bar_in_a_name_does_not_break_the_table():
    assert markdown_table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
