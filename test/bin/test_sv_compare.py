import json

import numpy as np
import pytest
import yaml

from espnet2_sv.bin.sv_compare import main
from espnet2_sv.errors import SVError


@pytest.fixture
def plan(tmp_path):
    """Two folds of six speakers; "good" has two seeds, "bad" one."""
    rng = np.random.default_rng(0)
    parts = []
    systems = {"good": (0.8, [{}, {}]), "bad": (3.0, [{}])}
    for fold in ("fold1", "fold2"):
        names = [f"{fold}-{s}-{u}" for s in range(6) for u in range(3)]
        pairs = [
            (a, b, a[:-2] == b[:-2]) for i, a in enumerate(names) for b in names[:i]
        ]
        trials, utt2spk = tmp_path / f"{fold}.trials", tmp_path / f"{fold}.utt2spk"
        trials.write_text(
            "".join(f"{a} {b} {'non' * (not y)}target\n" for a, b, y in pairs)
        )
        utt2spk.write_text("".join(f"{name} {name[:-2]}\n" for name in names))
        parts.append({"name": fold, "trials": str(trials), "utt2spk": [str(utt2spk)]})
        for system, (noise, runs) in systems.items():
            for number, run in enumerate(runs):
                path = tmp_path / f"{system}.{number}.{fold}"
                lines = [
                    f"{a} {b} {2 * y + noise * rng.normal()}\n" for a, b, y in pairs
                ]
                path.write_text("".join(lines))
                run[fold] = str(path)
    (tmp_path / "system.json").write_text('{"training_minutes": 1.5}')
    content = {
        "parts": parts,
        "systems": [
            {"name": name, "description": f"a {name} one", "runs": runs}
            for name, (_, runs) in systems.items()
        ],
        "comparisons": [{"system": "good", "against": "bad"}],
    }
    content["systems"][0]["system"] = str(tmp_path / "system.json")
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def command(plan, *options):
    out = plan.parent / "out"
    main(
        [
            "--plan",
            str(plan),
            "--output_dir",
            str(out),
            "--bootstrap_samples",
            "40",
            *options,
        ]
    )
    return out


def test_figures_and_page(plan, capsys):
    out = command(plan, "--title", "Good and bad", "--seed", "3")
    assert {path.name for path in out.iterdir()} == {"comparison.json", "comparison.md"}
    text = (out / "comparison.json").read_text()
    found = json.loads(
        text, parse_constant=pytest.fail
    )  # no NaN or Infinity in the file
    assert found["bootstrap"] == {"unit": "speakers", "samples": 40, "seed": 3}
    good, bad = found["systems"]["good"], found["systems"]["bad"]
    assert good["eer_ci95"][0] < good["eer"] < good["eer_ci95"][1] < bad["eer"]
    assert (good["n_runs"], bad["n_runs"], good["training_minutes"]) == (2, 1, 1.5)
    assert found["comparisons"][0]["eer"]["p_better"] == 1
    page = (out / "comparison.md").read_text()
    assert page.startswith(f"# Good and bad, {found['date']}\n")
    assert "| a good one | 2 | 1.5 |" in page
    assert "| good against bad |" in page
    assert page in capsys.readouterr().out


def test_a_bad_plan_writes_nothing(plan):
    plan.write_text(plan.read_text().replace("against: bad", "against: ghost"))
    with pytest.raises(SVError, match=r"plan\.yaml: .*ghost is unknown"):
        command(plan)
    assert not (plan.parent / "out").exists()


def test_a_missing_score_file_is_named(plan):
    (plan.parent / "good.1.fold2").unlink()
    with pytest.raises(
        SVError, match=r"^system good, run 2, part fold2: .*cannot be read"
    ):
        command(plan)
    assert not (plan.parent / "out/comparison.json").exists()
