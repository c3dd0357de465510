import json
from pathlib import Path

import numpy as np
import pytest

import espnet2
from espnet2_sv.bin import sv_metrics
from espnet2_sv.bin.sv_results import main
from espnet2_sv.errors import SVError


@pytest.fixture
def metrics(tmp_path):
    rng = np.random.default_rng(0)
    trials = [f"a{i} b{i} {'target' if i % 2 else 'nontarget'}" for i in range(40)]
    (tmp_path / "trials").write_text("\n".join(trials) + "\n")
    paths = []
    for name in ("one", "two"):
        scores = [f"a{i} b{i} {rng.normal() + i % 2}" for i in range(40)]
        (tmp_path / "scores").write_text("\n".join(scores) + "\n")
        files = ["--trials", f"{tmp_path}/trials", "--scores", f"{tmp_path}/scores"]
        sv_metrics.main(
            [*files, "--output_dir", f"{tmp_path}/{name}", "--bootstrap_samples", "9"]
        )
        paths.append(f"{tmp_path}/{name}/metrics.json")
    return paths


def test_collects_and_replaces(metrics, tmp_path):
    page = tmp_path / "RESULTS.md"
    page.write_text("old")
    for _ in range(2):
        systems = [f"first={metrics[0]}", f"b={metrics[1]}"]
        main(["--output", str(page), "--title", "T", *systems])
    text = page.read_text()
    for name, path in (("first", metrics[0]), ("b", metrics[1])):
        eer = json.loads(Path(path).read_text())["eer"]
        assert f"| {name} | 20 + 20 | {eer:.3f}" in text
    date = json.loads(Path(metrics[0]).read_text())["date"]
    assert text.startswith(f"# T, {date}\n")
    assert text.count("| first |") == 1


def test_the_page_for_espnet_is_written_with_the_other(metrics, tmp_path):
    exp = tmp_path / "exp"
    exp.mkdir()
    (exp / "config.yaml").write_text("config: conf/train_sv_transfer.yaml\n")
    (exp / "hub.json").write_text('{"repo": "org/name"}')
    pages = [tmp_path / name for name in ("RESULTS.md", "RESULTS_espnet.md")]
    command = ["--output", str(pages[0]), f"sv_a/test/cosine={metrics[0]}"]
    main(command)
    alone = pages[0].read_text()
    main([*command, "--espnet_output", str(pages[1]), "--exp", f"sv_a={exp}"])
    assert pages[0].read_text() == alone
    text = pages[1].read_text()
    eer = json.loads(Path(metrics[0]).read_text())["eer"]
    config = "conf/train_sv_transfer.yaml"
    assert f"| [{config}]({config}) | {eer:.3f} |" in text
    assert "| https://huggingface.co/org/name |" in text
    assert f"- espnet version: `espnet {espnet2.__version__}`\n" in text
    with pytest.raises(SVError, match="give --exp EXPERIMENT=DIR"):
        main([*command, "--exp", "sv_a"])
    with pytest.raises(SVError, match=r"RESULTS\.md: two outputs are this file"):
        main([*command, "--espnet_output", str(pages[0])])


def test_refuses(metrics, tmp_path):
    with pytest.raises(SVError, match=r"give NAME=DIR/metrics\.json"):
        main(["--output", "x", metrics[0]])
    with pytest.raises(SVError, match="the name a is given twice"):
        main(["--output", "x", f"a={metrics[0]}", f"a={metrics[1]}"])


def test_a_layout_needs_no_results_and_a_list_does(tmp_path):
    layout = Path(__file__).resolve().parents[2] / "egs2/voxceleb/sv1/conf/results.yaml"
    page = tmp_path / "RESULTS.md"
    main(["--output", str(page), "--title", "VoxCeleb", "--layout", str(layout)])
    # what the recipe comes with: nothing measured beside what was published
    assert page.read_text() == (layout.parents[1] / "RESULTS.md").read_text()
    with pytest.raises(SVError, match="at least one"):
        main(["--output", str(page)])


def test_notes_about_the_sets_are_in_every_table(tmp_path):
    (tmp_path / "trials").write_text("a b target\na c nontarget\nb c nontarget\n")
    (tmp_path / "scores").write_text("a b 2\na c 1\nb c 0\n")
    seen = "test: 3 of 5 speakers were also in training"
    for name, note in (("test", f"{seen}\n"), ("valid", ""), ("other", f"{seen}\n")):
        (tmp_path / "overlap").write_text(note)
        files = ["--trials", f"{tmp_path}/trials", "--scores", f"{tmp_path}/scores"]
        files += [
            "--output_dir",
            f"{tmp_path}/{name}",
            "--notes",
            f"{tmp_path}/overlap",
        ]
        sv_metrics.main([*files, "--bootstrap_samples", "0", "--pictures", "false"])
        page = (tmp_path / name / "metrics.md").read_text()
        assert page.count(f"**Note: {seen}.**") == bool(note)
    layout = tmp_path / "layout.yaml"
    layout.write_text(
        "sets: {test: T, valid: V}\nsystems: []\n"
        "protocols: [{title: Cosine, kind: cosine}]\n"
    )
    systems = [
        f"sv_a/{name}/cosine={tmp_path}/{name}/metrics.json"
        for name in ("test", "valid", "other")
    ]
    page, espnet = tmp_path / "RESULTS.md", tmp_path / "RESULTS_espnet.md"
    for options in ([], ["--layout", str(layout)]):
        command = ["--output", str(page), "--espnet_output", str(espnet), *options]
        main([*command, *systems])
        assert page.read_text().count(f"**Note: {seen}.**") == 1  # each once
        of_sets = espnet.read_text().split("## Environments")[0].split("Overall ")[1:]
        assert [seen in part for part in of_sets] == (
            [True, False] if options else [True, False, True]
        )
    damaged = json.loads((tmp_path / "test/metrics.json").read_text())
    for notes in ("text", [1], ["two\nlines"]):
        (tmp_path / "test/metrics.json").write_text(
            json.dumps({**damaged, "notes": notes})
        )
        with pytest.raises(SVError, match=r"is not a metrics\.json"):
            main(["--output", str(page), *systems])
