import json

import numpy as np
import pytest

from espnet2_sv.bin.sv_metrics import main
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.metrics import equal_error_rate


@pytest.fixture
def files(tmp_path):
    """All pairs of four utterances per speaker, scored by a mediocre system."""
    rng = np.random.default_rng(0)
    names = [f"s{s}-u{u}" for s in range(8) for u in range(4)]
    trials, scores, worse = [], [], []
    for i, a in enumerate(names):
        for b in names[:i]:
            same = a[:2] == b[:2]
            score = rng.normal() + 2.5 * same
            trials.append(f"{a} {b} {'target' if same else 'nontarget'}\n")
            scores.append(f"{a} {b} {score}\n")
            worse.append(f"{a} {b} {score + rng.normal() * 2}\n")
    lines = {
        "trials": trials,
        "scores": scores,
        "worse": worse,
        "utt2spk": [f"{name} {name[:2]}\n" for name in names],
        "utt2gender": [f"{name} {'fm'[int(name[1]) % 2]}\n" for name in names],
    }
    for name, content in lines.items():
        (tmp_path / name).write_text("".join(content))
    return tmp_path


def measure(root, *options, scores="scores"):
    options = [option.replace("DIR", str(root)) for option in options]
    files = ["--trials", f"{root}/trials", "--scores", f"{root}/{scores}"]
    main([*files, "--output_dir", f"{root}/out", "--bootstrap_samples", "50", *options])
    text = (root / "out/metrics.json").read_text()
    return json.loads(
        text, parse_constant=pytest.fail
    )  # no NaN or Infinity in the file


def test_figures_and_files(files, capsys):
    metrics = measure(files, "--utt2spk", "DIR/utt2spk")
    scores = np.array(
        [float(x.split()[2]) for x in (files / "scores").read_text().splitlines()]
    )
    labels = np.array(
        ["nontarget" not in x for x in (files / "trials").read_text().splitlines()]
    )
    assert metrics["eer"] == pytest.approx(100 * equal_error_rate(scores, labels).eer)
    assert metrics["eer_ci95"][0] < metrics["eer"] < metrics["eer_ci95"][1]
    assert (metrics["n_target"], metrics["n_nontarget"], metrics["n_speakers"]) == (
        48,
        448,
        8,
    )
    assert metrics["score_mean_target"] == pytest.approx(scores[labels].mean())
    assert metrics["score_std_nontarget"] == pytest.approx(scores[~labels].std())
    assert metrics["bootstrap"]["unit"] == "speakers"
    assert len(metrics["list"]["sha256"]) == 64
    found = {path.name for path in (files / "out").iterdir()}
    assert found == {"metrics.json", "metrics.md", "det.png", "det.json", "scores.png"}
    page = (files / "out/metrics.md").read_text()
    assert f"{metrics['eer']:.3f} [" in page
    assert page in capsys.readouterr().out
    curve = json.loads((files / "out/det.json").read_text())["scores"]
    assert curve["points"][0]["p_fa"] == pytest.approx(metrics["eer"] / 100)


def test_several_score_files_are_evaluated_separately(files):
    outputs = [str(files / name) for name in ("one", "two")]
    command = [
        "--trials",
        f"{files}/trials",
        "--scores",
        f"{files}/scores",
        f"{files}/worse",
    ]
    command += ["--output_dir", *outputs, "--utt2spk", f"{files}/utt2spk"]
    main(
        [
            *command,
            "--title",
            "good",
            "bad",
            "--pictures",
            "false",
            "--bootstrap_samples",
            "50",
        ]
    )
    for scores, title, output in zip(
        ("scores", "worse"), ("good", "bad"), outputs, strict=True
    ):
        alone = measure(files, "--utt2spk", "DIR/utt2spk", scores=scores)
        folder = files / output
        found = json.loads((folder / "metrics.json").read_text())
        assert found | {"date": ""} == alone | {"date": ""}
        assert title in (folder / "metrics.md").read_text()
        assert {p.name for p in folder.iterdir()} == {
            "metrics.json",
            "metrics.md",
            "det.json",
        }
    with pytest.raises(SVError, match="--output_dir: 1 given for 2 --scores"):
        main([*command[:5], "--output_dir", outputs[0]])
    with pytest.raises(SVError, match="--title: 1 given for 2 --scores"):
        main([*command, "--title", "good"])
    with pytest.raises(SVError, match="--calibrated: 1 given for 2 --scores"):
        main([*command, "--calibrated", "true"])


def test_cllr_is_that_of_scores_that_are_said_to_be_calibrated(files):
    for words, wanted in (((), False), (("--calibrated", "true"), True)):
        metrics = measure(files, *words)
        assert (metrics["cllr"] is not None) == wanted == metrics["calibrated"]
        assert ("| Cllr (bits)" in (files / "out/metrics.md").read_text()) == wanted


def test_headings_name_the_set_and_the_date(files):
    metrics = measure(files)
    heading = (files / "out/metrics.md").read_text().splitlines()[0]
    folder = files.name  # as in data/test/trials
    assert heading == f"# {folder}, scores {folder}/scores, {metrics['date']}"
    (files / "trials").rename(files / "vox1_o.txt")
    command = ["--trials", f"{files}/vox1_o.txt", "--scores", f"{files}/scores"]
    main([*command, "--output_dir", f"{files}/out", "--bootstrap_samples", "9"])
    assert (files / "out/metrics.md").read_text().startswith("# vox1_o, scores ")


def test_without_speakers_says_so(files):
    assert measure(files)["bootstrap"]["unit"] == "trials"
    assert "too narrow" in (files / "out/metrics.md").read_text()


def test_comparison_and_breakdown(files):
    metrics = measure(
        files,
        *["--utt2spk", "DIR/utt2spk", "--compare_scores", "DIR/worse"],
        *["--attribute", "DIR/utt2gender"],
    )
    assert metrics["compare"]["name"] == "worse"
    assert metrics["compare"]["eer"]["p_better"] > 0.9
    groups = metrics["breakdown"]["utt2gender"]
    assert [*groups] == ["same gender", "different gender", "both f", "both m"]
    assert groups["different gender"]["eer"] is None
    assert 0 < groups["different gender"]["false_alarms"] < 50
    assert json.loads((files / "out/det.json").read_text()).keys() == {
        "scores",
        "worse",
    }
    page = (files / "out/metrics.md").read_text()
    assert "## Against worse" in page
    assert "## By utt2gender" in page
    assert " points better [" in page and "| different gender | 0 | 256 | - | " in page


def test_two_speakers_and_two_trials_work(tmp_path):
    (tmp_path / "trials").write_text("a1 a2 target\na1 b1 nontarget\n")
    (tmp_path / "scores").write_text("a1 a2 0.7\na1 b1 0.1\n")
    (tmp_path / "utt2spk").write_text("a1 a\na2 a\nb1 b\n")
    metrics = measure(tmp_path, "--utt2spk", "DIR/utt2spk")
    assert (metrics["eer"], metrics["eer_ci95"]) == (0, None)
    assert "2 speakers" in metrics["bootstrap"]["reason"]


def test_training_speakers_may_not_be_tested(files):
    (files / "train").write_text("x s3\n")
    with pytest.raises(
        SVError, match=r"1 of the tested speakers are training speakers, e\.g\. s3"
    ):
        measure(files, "--utt2spk", "DIR/utt2spk", "--train_utt2spk", "DIR/train")
    with pytest.raises(SVError, match="give utt2spk, the speakers of the trials, too"):
        measure(files, "--train_utt2spk", "DIR/train")


@pytest.mark.parametrize(
    "name, line, message",
    [
        ("scores", "s1-u0 s0-u0 nan", "line 7"),
        ("scores", "s1-u0", "line 7 is 's1-u0', not 'enroll_utt test_utt score'"),
        ("scores", "x y 1", "has no score for the trial 's1-u0 s0-u0'"),
        ("trials", "s1-u0 s0-u0 1", "line 7"),
    ],
)
def test_wrong_lines_are_named(files, name, line, message):
    lines = (files / name).read_text().splitlines()
    assert lines[6].startswith("s1-u0 s0-u0")
    lines[6] = line
    (files / name).write_text("\n".join(lines) + "\n")
    with pytest.raises(SVError, match=message):
        measure(files)
    assert not (files / "out").exists()


def test_one_class_stops(files):
    text = (files / "trials").read_text().replace("nontarget", "target")
    (files / "trials").write_text(text)
    with pytest.raises(SVError, match="496 target and 0 nontarget trials"):
        measure(files)
