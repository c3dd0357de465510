import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.evaluation import (
    Groups,
    breakdown,
    evaluate,
    read_attribute,
)
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.report import metrics_markdown
from espnet2_sv.scoring.trials import Trials, read_trials


def rows(groups: Groups) -> dict[str, list[int]]:
    return {name: numbers.tolist() for name, numbers in groups.items()}


@pytest.fixture
def trials(folder):
    return read_trials(
        folder.text("trials", "a b target", "b c nontarget", "c a nontarget")
    )


def test_of_trials_in_any_order(folder, trials):
    path = folder.text("condition", "c a noisy", "x y other", "a b clean", "b c noisy")
    assert rows(read_attribute(path, trials)) == {"clean": [0], "noisy": [1, 2]}


def test_of_utterances_there_are_same_different_and_each_value(folder, trials):
    path = folder.text("utt2gender", "a f", "b f", "c m")
    found = rows(read_attribute(path, trials))
    # of m, there is no trial with it on both sides: no row of nothing
    assert found == {"different gender": [1, 2], "both f": [0]}


@pytest.mark.parametrize("seed", range(8))
def test_groups_of_utterances_are_those_of_a_slow_definition(folder, caplog, seed):
    rng = np.random.default_rng(seed)
    names = [f"u{i:02d}" for i in range(12)]
    values = [["en", "de", "ru", None][i] for i in rng.integers(0, 4, 12)]
    values[0] = "en"  # one of them is known
    pairs = rng.integers(0, 12, (40, 2))
    trials = Trials(names, names, pairs[:, 0], pairs[:, 1], rng.random(40) < 0.5)
    lines = [f"{n} {v}" for n, v in zip(names, values, strict=True) if v]
    found = rows(read_attribute(folder.text("utt2lang", *lines), trials))
    wanted: dict[str, list[int]] = {}
    for row, (a, b) in enumerate(pairs):
        sides = [values[a], values[b]]
        if unknown := sides.count(None):
            where = "one side" if unknown == 1 else "both sides"
            group = [f"lang unknown on {where}"]
        elif sides[0] == sides[1]:
            group = ["same lang", f"both {sides[0]}"]
        else:
            group = ["different lang"]
        for name in group:
            wanted.setdefault(name, []).append(row)
    if sum(name.startswith("both") for name in wanted) == 1:
        del wanted["same lang"]  # which has the same rows
    assert found == wanted
    assert ("has no value for" in caplog.text) == (None in values)


def test_many_numbers_become_quartiles_of_the_smaller_side(folder):
    names = [f"u{i:02d}" for i in range(40)]
    trials = Trials(
        names, names, np.arange(40), np.arange(40)[::-1], np.arange(40) < 20
    )
    path = folder.text("utt2dur", *(f"{name} {i}" for i, name in enumerate(names)))
    found = rows(read_attribute(path, trials))
    assert [*found] == ["0 to 4.75", "4.75 to 9.5", "9.5 to 14.25", "14.25 to 19"]
    assert found["0 to 4.75"] == [0, 1, 2, 3, 4, 35, 36, 37, 38, 39]
    assert 19 in found["14.25 to 19"] and len(found["14.25 to 19"]) == 10
    path = folder.text("utt2dur", *(f"{name} {i}" for i, name in enumerate(names[1:])))
    found = rows(read_attribute(path, trials))
    assert found["dur unknown on one side"] == [0, 39]
    assert sum(map(len, found.values())) == 40


@pytest.mark.parametrize(
    "lines, message",
    [
        (("x f", "y f"), "has no value for any utterance of the trials, e.g. a; give"),
        (("a b x", "b c x"), "has no value for trial 3, 'c a' .1 are missing"),
        (("a b x", "b c x", "c a"), "line 3 is 'c a', not 'enroll_utt test_utt value'"),
        (("a f", "b NaN", "c f"), "a value is NaN"),
        (("a b f", "b c inf", "c a f"), "a value is inf"),
    ],
)
def test_names_what_is_missing(folder, trials, lines, message):
    with pytest.raises(SVError, match=message):
        read_attribute(folder.text("attribute", *lines), trials)


def test_refuses_values_that_form_no_groups(folder):
    names = [f"u{i}" for i in range(150)]
    trials = Trials(names, names, np.arange(150), np.arange(150), np.arange(150) < 20)
    with pytest.raises(SVError, match="150 different values, which are not all number"):
        read_attribute(
            folder.text("utt2x", *(f"{name} x{name}" for name in names)), trials
        )
    lines = (f"{name} {name} x{name}" for name in names)
    with pytest.raises(SVError, match="150 different values"):
        read_attribute(folder.text("x", *lines), trials)
    with pytest.raises(SVError, match="cannot be read"):
        read_attribute(folder.root / "ghost", trials)


def test_breakdown_describes_each_group():
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.5
    scores = rng.normal(size=300) + labels
    index = np.arange(300) % 3
    index[(index == 2) & labels] = 0
    groups = {name: np.flatnonzero(index == i) for i, name in enumerate("xyz")}
    found = breakdown(scores, labels, groups, 0.5)
    y = groups["y"]
    wanted = describe(scores[y], labels[y], calibrated=False)
    wanted["misses"] = 100 * np.mean(scores[y][labels[y]] < 0.5)
    wanted["false_alarms"] = 100 * np.mean(scores[y][~labels[y]] >= 0.5)
    assert found["y"] == pytest.approx(wanted)
    assert found["z"]["eer"] is None and found["z"]["misses"] is None
    assert found["z"]["false_alarms"] == 100 * np.mean(scores[groups["z"]] >= 0.5)
    assert "error rates need both" in found["z"]["reason"]
    assert breakdown(scores, labels, groups, 0.5, True)["x"]["cllr"] > 0


def test_only_log_likelihood_ratios_have_cllr_and_actual_costs(folder, tmp_path):
    trials = folder.text("trials", "a b target", "b c nontarget", "c a nontarget")
    scores = folder.text("scores", "a b 2.5", "b c -3", "c a -1")
    plain = evaluate(trials, scores, resampling=Resampling(0)).metrics
    forced = evaluate(trials, scores, resampling=Resampling(0), calibrated=True).metrics
    folder.text("calibration.json", "{}")  # as sv_calibrate writes beside its output
    found = evaluate(trials, scores, resampling=Resampling(0))
    for key in ("cllr", "actdcf_p01", "actdcf_p05"):
        assert plain[key] is None and found.metrics[key] == forced[key] is not None
    assert (plain["calibrated"], found.metrics["calibrated"]) == (False, True)
    assert plain["min_cllr"] == forced["min_cllr"]
    pages = [metrics_markdown(metrics, "T") for metrics in (plain, forced)]
    for line in ("actual DCF 0.01", "| Cllr (bits)", "log-likelihood ratios"):
        assert line not in pages[0] and line in pages[1]
    assert all("| - |" not in page for page in pages)
