import pytest

from espnet2_sv.scoring.report import (
    better_or_worse,
    comparison_markdown,
    markdown_table,
)

RATES = {
    "eer": 12.3456,
    "eer_ci95": [10.0, 15.125],
    "eer_part_mean": 12.228,
    "eer_part_mean_ci95": [9.0, 14.5],
    "mindcf_p01": 0.95,
    "mindcf_p01_ci95": None,
    "mindcf_p05": 0.61,
    "mindcf_p05_ci95": [0.5, 0.7],
}


def system(description, eers, **changes):
    runs = [{"eer": eer} for eer in eers]
    parts = {"fold1": 11.0, "fold2": 13.456}
    return {
        "description": description,
        "n_runs": len(runs),
        **RATES,
        "reason": None,
        "eer_by_part": parts,
        "runs": runs,
        **changes,
    }


@pytest.fixture
def comparison():
    size = {"trained_parameters": 1234567.0, "training_minutes": 12.34}
    difference = {"other": 20.0, "difference": 7.654, "difference_ci95": [-1.0, 16.3]}
    return {
        "parts": [{"name": "fold1"}, {"name": "fold2"}],
        "n_target": 1200,
        "n_nontarget": 3400,
        "n_speakers": 30,
        "bootstrap": {"unit": "speakers", "samples": 1000, "seed": 0},
        "systems": {
            "a": system("from\nscratch", [12.0, 13.0, 11.999], **size),
            "b": system("from ASR | tuned", [9.0]),
        },
        "comparisons": [
            {
                "title": "ASR helps",
                "system": "b",
                "against": "a",
                "eer": difference | {"p_better": 0.9875},
                "eer_part_mean": difference | {"difference": 0.25, "p_better": 0.5},
                "mindcf_p05": difference | {"p_better": None, "difference_ci95": None},
            }
        ],
    }


def tables(page):
    """Rows of cells by the heading above them."""
    found = {}
    for block in page.split("# ")[1:]:
        title, _, body = block.partition("\n")
        lines = [x.replace("\\|", "/") for x in body.splitlines() if x.startswith("| ")]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
        found[title.rstrip("#").strip()] = [row for row in rows if row[0] != "---"]
    return found


def test_tables(comparison):
    page = comparison_markdown(comparison, "My systems")
    found = tables(page)
    assert page.startswith("# My systems\n")
    head = ["system", "seeds", "trained parameters", "training (min)", "EER (%)"]
    head += ["EER (%) by seed (min-max)", "minDCF 0.01", "minDCF 0.05"]
    rates = ["12.35 [10.00, 15.12]", "0.950", "0.610 [0.500, 0.700]"]
    assert found["My systems"] == [
        head,
        ["from scratch", "3", "1,234,567", "12.3", rates[0], "12.00-13.00", *rates[1:]],
        ["from ASR / tuned", "1", "", "", rates[0], "", *rates[1:]],
    ]
    assert found["EER (%) by part"][1] == [
        "from scratch",
        "11.00",
        "13.46",
        "12.23 [9.00, 14.50]",
    ]
    assert found["Paired comparisons"][1] == [
        "ASR helps (b against a)",
        "7.65 points better [1.00 worse, 16.30 better]",
        "98.8 %",
        "0.25 points better [1.00 worse, 16.30 better]",
        "50.0 %",
        "7.654 better",
        "-",
    ]
    comparison["comparisons"][0]["title"] = "b against a"
    page = comparison_markdown(comparison, "T")
    assert tables(page)["Paired comparisons"][1][0] == "b against a"


@pytest.mark.parametrize(
    ("metric", "difference", "ends", "text"),
    [
        ("eer", 4.9, [1.204, 8.6], "4.90 points better [1.20, 8.60]"),
        ("eer", -4.9, [-8.6, -1.204], "4.90 points worse [1.20, 8.60]"),
        ("eer", -4.9, None, "4.90 points worse"),
        ("eer_part_mean", 0.5, [-1, 2], "0.50 points better [1.00 worse, 2.00 better]"),
        ("eer", -0.001, [-1, 1], "no difference [1.00 worse, 1.00 better]"),
        ("eer", 0.0, [0.0, 0.0], "no difference [0.00, 0.00]"),
        ("mindcf_p05", -0.0613, [-0.1, 0.0], "0.061 worse [0.100 worse, 0.000]"),
        ("mindcf_p01", 0.25, [0.1, 0.4], "0.250 better [0.100, 0.400]"),
    ],
)
def test_differences_say_better_or_worse(metric, difference, ends, text):
    found = {"difference": difference, "difference_ci95": ends}
    assert better_or_worse(found, metric) == text


def test_notes_explain_the_intervals(comparison):
    page = comparison_markdown(comparison, "T")
    assert "1,200 target and 3,400 nontarget trials of 30 speakers, in 2 parts" in page
    assert (
        "1,000 bootstrap samples of speakers, drawn within each part, and of the seeds"
        in page
    )
    assert "do not include the variation between seeds" in page
    comparison["systems"]["b"]["reason"] = "EER is 0"
    assert "missing: from ASR | tuned: EER is 0" in comparison_markdown(comparison, "T")


def test_absent_parts_are_omitted(comparison):
    comparison |= {"comparisons": [], "parts": comparison["parts"][:1]}
    del comparison["systems"]["a"]
    page = comparison_markdown(comparison, "T")
    found = tables(page)
    assert list(found) == ["T"]
    assert found["T"][0] == ["system", "seeds", "EER (%)", "minDCF 0.01", "minDCF 0.05"]
    assert "Better or worse" not in page
    assert "parts" not in page
    assert "of the seeds" not in page
    comparison["bootstrap"]["samples"] = 0
    comparison["systems"]["b"]["reason"] = "no resampling was requested"
    page = comparison_markdown(comparison, "T")
    assert "bootstrap" not in page
    assert page.count("no resampling was requested") == 1


def test_a_bar_in_a_name_does_not_break_the_table():
    assert markdown_table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
