import json
import logging

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.bootstrap import WeightedRoc, resample_means
from espnet2_sv.scoring.comparison import compare
from espnet2_sv.scoring.comparison_plan import Pair, Part, Plan, System
from espnet2_sv.scoring.intervals import Resampling
from espnet2_sv.scoring.metrics import equal_error_rate, min_dcf

PRIORS = {"mindcf_p01": 0.01, "mindcf_p05": 0.05}
FIGURES = ("eer", *PRIORS, "eer_part_mean")
SAMPLES = 60


class World:
    """Two parts of 6 and 8 speakers, whose trials are all pairs of their utterances."""

    def __init__(self, folder):
        self.folder = folder
        self.parts, self.sides, self.labels, self.pairs = [], {}, {}, {}
        for part, speakers in (("f1", 6), ("f2", 8)):
            of = np.repeat(np.arange(speakers), 4)
            i, j = np.triu_indices(len(of), 1)
            self.sides[part] = of[i], of[j]
            self.labels[part] = of[i] == of[j]
            names = [f"{part}-s{s}-u{u}" for u, s in enumerate(of)]
            self.pairs[part] = [
                f"{names[a]} {names[b]}" for a, b in np.stack([i, j], axis=1)
            ]
            lines = [
                f"{pair} {'target' if same else 'nontarget'}"
                for pair, same in zip(self.pairs[part], self.labels[part], strict=True)
            ]
            utt2spk = [f"{name} {name.rpartition('-')[0]}" for name in names]
            paths = (
                folder.text(f"{part}.trials", *lines),
                folder.text(f"{part}.utt2spk", *utt2spk),
            )
            self.parts.append(Part(part, paths[0], [paths[1]]))
        self.scores = {}

    def system(self, name, seeds, noise=1.0, shift=0.0, extra=()):
        """Write scores of a system; ``shift`` moves those of the second part."""
        runs = []
        for number, seed in enumerate(seeds):
            rng = np.random.default_rng(seed)
            run, arrays = {}, []
            for part in ("f1", "f2"):
                scores = 2 * self.labels[part] + noise * rng.normal(
                    size=len(self.labels[part])
                )
                scores += shift * (part == "f2")
                order = rng.permutation(len(scores))  # score files may be in any order
                run[part] = self.folder.text(
                    f"{name}.{number}.{part}",
                    *(f"{self.pairs[part][k]} {float(scores[k])!r}" for k in order),
                )
                arrays.append(scores)
            runs.append(run)
            self.scores.setdefault(name, []).append(arrays)
        return System(name, f"the {name}", runs, list(extra))

    def pooled(self, name):
        labels = np.concatenate([self.labels["f1"], self.labels["f2"]])
        return [np.concatenate(arrays) for arrays in self.scores[name]], labels

    def part_numbers(self):
        """The part of each pooled trial."""
        return np.repeat([0, 1], [len(self.labels[part]) for part in ("f1", "f2")])

    def brute_force(self, names, seed):
        """Resample by repeating trials as often as drawn (samples, systems, F)."""
        values = []
        drawn_runs = {}
        for number, name in enumerate(names, 1):
            count = len(self.scores[name])
            rng = np.random.default_rng((seed, number))
            drawn_runs[name] = rng.integers(count, size=(SAMPLES, max(count - 1, 1)))
        for sample, stream in enumerate(np.random.SeedSequence(seed).spawn(SAMPLES)):
            rng = np.random.default_rng(stream)
            times = []
            for part in ("f1", "f2"):
                enroll, test = self.sides[part]
                n = enroll.max() + 1
                drawn = rng.multinomial(n, np.full(n, 1 / n))
                once = drawn[enroll]
                times.append(np.where(enroll == test, once, once * drawn[test]))
            times = np.concatenate(times)
            row = []
            for name in names:
                runs, labels = self.pooled(name)
                drawn = drawn_runs[name][sample] if len(runs) > 1 else [0]
                trials = np.repeat(labels, times), np.repeat(self.part_numbers(), times)
                of_runs = [figures(np.repeat(runs[r], times), *trials) for r in drawn]
                row.append(np.mean(of_runs, axis=0))
            values.append(row)
        return np.array(values)


def figures(scores, labels, parts):
    eers = [
        equal_error_rate(scores[parts == k], labels[parts == k]).eer
        for k in np.unique(parts)
    ]
    return [
        100 * equal_error_rate(scores, labels).eer,
        *(min_dcf(scores, labels, p)[0] for p in PRIORS.values()),
        100 * np.mean(eers),
    ]


@pytest.fixture
def world(folder):
    return World(folder)


def test_metrics_are_those_of_the_pooled_trials(world):
    plan = Plan(world.parts, [world.system("a", [1, 2, 3], shift=1.0)], [])
    found = compare(plan, Resampling(samples=0))
    runs, labels = world.pooled("a")
    expected = np.array(
        [figures(scores, labels, world.part_numbers()) for scores in runs]
    )
    system = found["systems"]["a"]
    assert system["n_runs"] == 3
    for i, name in enumerate(FIGURES):
        assert system[name] == pytest.approx(expected[:, i].mean())
        assert [run[name] for run in system["runs"]] == pytest.approx(expected[:, i])
        assert system[f"{name}_ci95"] is None
    assert system["reason"] == "no resampling was requested"
    for number, part in enumerate(("f1", "f2")):
        eers = [
            100 * equal_error_rate(arrays[number], world.labels[part]).eer
            for arrays in world.scores["a"]
        ]
        assert system["eer_by_part"][part] == pytest.approx(np.mean(eers))
        assert [run["eer_by_part"][part] for run in system["runs"]] == pytest.approx(
            eers
        )
    assert system["eer_part_mean"] == pytest.approx(
        np.mean([*system["eer_by_part"].values()])
    )
    assert system["eer"] > max(
        system["eer_by_part"].values()
    )  # one threshold for both parts
    counts = {"n_target": int(labels.sum()), "n_nontarget": int((~labels).sum())}
    assert found | counts | {"n_speakers": 14} == found
    assert [(part["name"], part["n_speakers"]) for part in found["parts"]] == [
        ("f1", 6),
        ("f2", 8),
    ]


def test_intervals_and_comparisons_agree_with_brute_force(world):
    names = ["one", "several"]
    systems = [world.system("one", [1], noise=1.2), world.system("several", [2, 3, 4])]
    pair = Pair("several", "one", "more against fewer")
    found = compare(Plan(world.parts, systems, [pair]), Resampling(SAMPLES, seed=5))
    values = world.brute_force(names, seed=5)
    parts = world.part_numbers()
    estimates = np.array(
        [
            np.mean([figures(scores, labels, parts) for scores in runs], axis=0)
            for runs, labels in map(world.pooled, names)
        ]
    )
    reach = student.ppf(0.975, 14 - 1)
    (comparison,) = found["comparisons"]
    assert (comparison["system"], comparison["against"]) == ("several", "one")
    assert comparison["title"] == "more against fewer"
    for i, key in enumerate(FIGURES):
        scale = 100 if key.startswith("eer") else 1
        for k, name in enumerate(names):
            smallest = 0.5 / len(world.pooled(name)[1])
            inside = np.append(values[:, k, i], estimates[k, i]) / scale
            logits = logit(np.clip(inside, smallest, 1 - smallest))
            spread = reach * logits[:-1].std(ddof=1)
            ends = scale * expit(logits[-1] + np.array([-spread, spread]))
            assert found["systems"][name][f"{key}_ci95"] == pytest.approx(ends)
        difference = values[:, 0, i] - values[:, 1, i]
        middle = estimates[0, i] - estimates[1, i]
        spread = reach * difference.std(ddof=1)
        assert comparison[key]["other"] == pytest.approx(estimates[0, i])
        assert comparison[key]["difference"] == pytest.approx(middle)
        assert comparison[key]["difference_ci95"] == pytest.approx(
            [middle - spread, middle + spread]
        )
        better = np.mean((difference > 1e-9) + (abs(difference) <= 1e-9) / 2)
        assert comparison[key]["p_better"] == pytest.approx(better)


def test_seeds_that_differ_widen_the_interval(world):
    identical = world.system("identical", [1, 1, 1])
    differing = world.system("differing", [1, 1, 1])
    for part in ("f1", "f2"):
        differing.runs[1][part] = world.system("good", [2], noise=0.5).runs[0][part]
        differing.runs[2][part] = world.system("bad", [3], noise=2).runs[0][part]
    found = compare(Plan(world.parts, [identical, differing], []), Resampling(SAMPLES))[
        "systems"
    ]
    assert np.ptp(found["differing"]["eer_ci95"]) > 1.5 * np.ptp(
        found["identical"]["eer_ci95"]
    )


def test_seeds_vary_the_mean_as_much_as_independent_seeds_would(world):
    """With every speaker drawn once, a mean of R runs has the variance s ** 2 / R."""
    world.system("a", [1, 2, 3])
    runs, labels = world.pooled("a")
    rocs = [WeightedRoc(scores, labels, []) for scores in runs]

    def once(rng):
        return np.ones(labels.sum()), np.ones((~labels).sum())

    means = resample_means([rocs], once, 4000, seed=0)[:, 0, 0]
    eers = [equal_error_rate(scores, labels).eer for scores in runs]
    assert means.mean() == pytest.approx(np.mean(eers), rel=0.02)
    assert means.var() == pytest.approx(np.var(eers, ddof=1) / 3, rel=0.1)


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
def test_a_system_is_as_good_as_its_copy(world, seeds):
    systems = [world.system("a", seeds), world.system("b", seeds)]
    plan = Plan(world.parts, systems, [Pair("a", "b", "a, b")])
    found = compare(plan, Resampling(200))["comparisons"][0]
    for key in FIGURES:
        assert found[key]["difference"] == 0
        if len(seeds) == 1:
            assert found[key]["p_better"] == 0.5
            assert found[key]["difference_ci95"] == [0, 0]
        else:  # each draws its own runs
            assert found[key]["p_better"] == pytest.approx(0.5, abs=0.15)
            assert (
                found[key]["difference_ci95"][0] < 0 < found[key]["difference_ci95"][1]
            )


def test_a_clearly_better_system_is_found_so(world):
    systems = [
        world.system("good", [1, 2], noise=0.6),
        world.system("bad", [3, 4], noise=3),
    ]
    pairs = [Pair("good", "bad", ""), Pair("bad", "good", "")]
    there, back = compare(Plan(world.parts, systems, pairs), Resampling(SAMPLES))[
        "comparisons"
    ]
    assert there["eer"]["p_better"] == 1
    assert there["eer"]["difference_ci95"][0] > 0
    assert back["eer"]["p_better"] == 0
    assert back["eer"]["difference"] == -there["eer"]["difference"]


def test_a_perfect_system_has_no_interval_and_says_why(world):
    plan = Plan(world.parts, [world.system("perfect", [1], noise=0.01)], [])
    found = compare(plan, Resampling(20))["systems"]["perfect"]
    assert (found["eer"], found["eer_ci95"]) == (0, None)
    assert "EER is 0" in found["reason"]


def test_system_files_are_averaged(world, folder):
    files = [
        folder.text(
            f"{minutes}.json",
            json.dumps({"parameters": 10, "training_minutes": minutes}),
        )
        for minutes in (2, 5)
    ]
    found = compare(
        Plan(world.parts, [world.system("a", [1], extra=files)], []), Resampling(0)
    )
    assert found["systems"]["a"]["training_minutes"] == 3.5
    assert found["systems"]["a"]["parameters"] == 10
    assert "gmac_per_second" not in found["systems"]["a"]
    for content in ('{"parameters": "x"}', "{}"):
        files[1] = folder.text("5.json", content)
        plan = Plan(world.parts, [world.system("a", [1], extra=files)], [])
        with pytest.raises(
            SVError, match=r"system a: .*5\.json: parameters is not a number"
        ):
            compare(plan, Resampling(0))
    with pytest.raises(SVError, match="system a: ghost: is missing"):
        compare(
            Plan(world.parts, [world.system("a", [1], extra=["ghost"])], []),
            Resampling(0),
        )


def test_bad_files_are_named_with_their_system_and_part(world, folder):
    system = world.system("a", [1, 2])
    system.runs[1]["f2"] = "ghost"
    with pytest.raises(
        SVError, match=r"^system a, run 2, part f2: ghost: cannot be read"
    ):
        compare(Plan(world.parts, [system], []), Resampling(0))
    system.runs[1]["f2"] = folder.text("few", "x y 1")
    with pytest.raises(
        SVError, match=r"^system a, run 2, part f2: .*few: has no score for the"
    ):
        compare(Plan(world.parts, [system], []), Resampling(0))
    part = Part("f1", "ghost", world.parts[0].utt2spk)
    with pytest.raises(SVError, match=r"^part f1: ghost: cannot be read"):
        compare(Plan([part], [system], []), Resampling(0))


def test_few_speakers_and_one_class_are_refused(folder):
    utt2spk = [folder.text("utt2spk", *(f"{s}{u} {s}" for s in "abcdef" for u in "12"))]
    few = Part("p", folder.text("few", "a1 a2 target", "a1 b1 nontarget"), utt2spk)
    system = System(
        "s", "s", [{"p": folder.text("scores", "a1 a2 2", "a1 b1 1", "c1 d1 0")}]
    )
    with pytest.raises(
        SVError, match=r"^part p: 2 speakers; intervals need at least 5"
    ):
        compare(Plan([few], [system], []), Resampling(10))
    one = Part("p", folder.text("one", "a1 b1 nontarget", "c1 d1 nontarget"), utt2spk)
    other = Part("q", few.trials, utt2spk)
    system.runs[0]["q"] = system.runs[0]["p"]
    with pytest.raises(SVError, match=r"^part p: 0 target and 2 nontarget trials"):
        compare(Plan([one, other], [system], []), Resampling(0))


def test_speaker_in_two_parts_counts_twice_with_a_warning(world, caplog):
    system = world.system("a", [1])
    again = Part("again", world.parts[0].trials, world.parts[0].utt2spk)
    system.runs[0]["again"] = system.runs[0]["f1"]
    with caplog.at_level(logging.WARNING):
        found = compare(Plan([*world.parts, again], [system], []), Resampling(0))
    (record,) = caplog.records
    assert (
        "parts f1 and again both have speaker f1-s0 (6 such speakers)" in record.message
    )
    assert found["n_speakers"] == 6 + 8 + 6


def test_same_seed_gives_same_result(world):
    plan = Plan(world.parts, [world.system("a", [1, 2])], [])
    first = compare(plan, Resampling(20, 1))
    assert first == compare(plan, Resampling(20, 1))
    other = compare(plan, Resampling(20, 2))
    assert first["systems"]["a"]["eer_ci95"] != other["systems"]["a"]["eer_ci95"]
