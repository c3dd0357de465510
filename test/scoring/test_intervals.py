import numpy as np
import pytest

from espnet2_sv.scoring.intervals import Resampling, with_intervals
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.trials import Speakers


def trials(speakers=12, utterances=4, seed=0, spread=0.6):
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(speakers), utterances)
    vectors = rng.normal(size=(speakers, 10))[of] + spread * rng.normal(
        size=(len(of), 10)
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    i, j = np.triu_indices(len(of), 1)
    scores = np.einsum("ij,ij->i", vectors[i], vectors[j])
    return scores, of[i] == of[j], Speakers(of[i], of[j], speakers)


FEW = Resampling(samples=40)


def test_intervals_contain_the_estimates_in_their_units():
    scores, labels, speakers = trials()
    found, figures = (
        with_intervals(scores, labels, speakers, FEW),
        describe(scores, labels),
    )
    for name in ("eer", "mindcf_p01", "mindcf_p05"):
        low, high = found[f"{name}_ci95"]
        assert low < figures[name] < high
    assert found["bootstrap"] == {
        "unit": "speakers",
        "samples": 40,
        "seed": 0,
        "reason": None,
    }


def test_intervals_over_trials_are_labelled_and_narrower():
    scores, labels, speakers = trials()
    wide = with_intervals(scores, labels, speakers, FEW)["eer_ci95"]
    found = with_intervals(scores, labels, None, FEW)
    assert found["bootstrap"]["unit"] == "trials"
    assert np.ptp(found["eer_ci95"]) < np.ptp(wide)


@pytest.mark.parametrize(
    "case, reason",
    [
        (lambda: (*trials(speakers=2), FEW), "2 speakers; intervals need at least 5"),
        (lambda: (*trials(), Resampling(samples=0)), "no resampling was requested"),
        (
            lambda: (*trials(spread=0.01), FEW),
            "EER is 0, and without errors there is nothing",
        ),
    ],
)
def test_what_cannot_be_computed_is_null_with_a_reason(case, reason):
    found = with_intervals(*case())
    assert found["eer_ci95"] is None
    assert reason in found["bootstrap"]["reason"]


def test_comparison_is_paired():
    scores, labels, speakers = trials(speakers=30)
    noise = np.random.default_rng(1).normal(size=len(scores))
    slightly, clearly = scores + 0.02 * noise, scores + noise
    compare = with_intervals(scores, labels, speakers, FEW, other=clearly)["compare"][
        "eer"
    ]
    assert compare["other"] == pytest.approx(describe(clearly, labels)["eer"])
    assert compare["difference"] == pytest.approx(
        compare["other"] - describe(scores, labels)["eer"]
    )
    assert compare["p_better"] == 1
    assert compare["difference_ci95"][0] > 0
    close = with_intervals(scores, labels, speakers, FEW, other=slightly)
    low, high = close["compare"]["eer"]["difference_ci95"]
    assert low < 0 < high
    assert high - low < np.ptp(close["eer_ci95"]) / 2  # what both share cancels
    same = with_intervals(scores, labels, speakers, FEW, other=scores)["compare"]["eer"]
    assert (same["difference"], same["p_better"]) == (0, 0.5)


def test_comparison_of_few_speakers_has_no_probability():
    scores, labels, speakers = trials(speakers=2)
    compare = with_intervals(scores, labels, speakers, FEW, other=-scores)["compare"][
        "eer"
    ]
    assert compare["difference"] > 0
    assert compare["p_better"] is None
