import json

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.calibration import Calibration, by_side, fit_calibration


def simulated(count=100_000, seed=0):
    """Calibrated LLRs: normal, with a variance of twice their mean."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    return rng.normal(np.where(labels, 3.0, -3.0), np.sqrt(6)), labels


def test_recovers_known_llrs():
    llrs, labels = simulated()
    calibration = fit_calibration(0.08 * llrs + 0.4, labels)
    fresh = simulated(seed=1)[0]
    np.testing.assert_allclose(calibration.llr(0.08 * fresh + 0.4), fresh, atol=0.25)


def test_recovers_the_effect_of_durations():
    llrs, labels = simulated()
    rng = np.random.default_rng(2)
    seconds = np.exp(rng.normal(1, 0.6, (2, len(llrs))))
    scores = 0.1 * llrs + 0.05 * np.log(seconds.min(0)) - 0.02 * np.log(seconds.max(0))
    calibration = fit_calibration(
        scores, labels, {"duration": (seconds[0], seconds[1])}
    )
    found = calibration.llr(
        scores, enroll_duration=seconds[1], test_duration=seconds[0]
    )
    np.testing.assert_allclose(found, llrs, atol=0.3)
    assert calibration.measures == ("duration",)


@pytest.mark.parametrize("p_target", [0.01, 0.5])
def test_prior_of_the_training_list_does_not_matter(p_target):
    llrs, labels = simulated()
    fewer = labels | (np.arange(len(labels)) % 10 == 0)  # a tenth of the nontargets
    calibration = fit_calibration(llrs[fewer], labels[fewer], p_target=p_target)
    assert calibration.bias == pytest.approx(0, abs=0.25)
    assert calibration.score_weight == pytest.approx(1, abs=0.1)


def test_cohort_means_are_taken_as_they_are():
    llrs, labels = simulated()
    means = np.random.default_rng(3).normal(0.1, 0.05, (2, len(llrs)))
    scores = 0.1 * llrs + 0.5 * means.max(0)
    quality = {"cohort_mean": (means[0], means[1])}
    calibration = fit_calibration(scores, labels, quality)
    np.testing.assert_allclose(
        calibration.llr(scores, **by_side(quality)), llrs, atol=0.3
    )


def test_separable_trials_give_modest_llrs():
    calibration = fit_calibration(
        np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    )
    assert 0 < calibration.llr(0.9) < 10
    assert -10 < calibration.llr(0.1) < 0


def test_score_weight_is_never_negative(caplog):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=40), np.arange(40) < 10
    scores[labels] -= 1.0
    calibration = fit_calibration(scores, labels)
    assert calibration.score_weight == 0
    assert calibration.llr(0.9) == pytest.approx(calibration.llr(0.1))
    assert "ignores scores" in caplog.text


def test_threshold_follows_prior_and_costs():
    calibration = Calibration(1.0, 0.0, {}, {})
    assert calibration.threshold(0.5) == 0
    assert calibration.threshold(0.01) == pytest.approx(np.log(99))
    assert calibration.threshold(0.5, c_fa=2) == pytest.approx(np.log(2))


def test_saves_and_loads(tmp_path):
    llrs, labels = simulated(500)
    seconds = np.linspace(1, 9, 500)
    calibration = fit_calibration(llrs, labels, {"duration": (seconds, seconds[::-1])})
    calibration.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again == calibration
    assert again.llr(0.3, enroll_duration=2.0, test_duration=3.0) == calibration.llr(
        0.3, enroll_duration=2.0, test_duration=3.0
    )


def test_missing_quality_is_named():
    calibration = Calibration(1.0, 0.0, {"magnitude": (0.1, 0.1)}, {})
    with pytest.raises(
        SVError, match="trained with magnitude: give the magnitude of both sides"
    ):
        calibration.llr(0.5, enroll_magnitude=3.0)
    with pytest.raises(SVError, match="a magnitude is not positive"):
        calibration.llr(0.5, enroll_magnitude=3.0, test_magnitude=0.0)


GOOD = {
    "format": "espnet2_sv calibration 1",
    "score_weight": 1.0,
    "bias": 0.0,
    "measure_weights": {},
    "info": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "2"},
        {"score_weight": float("nan")},
        {"score_weight": "x"},
        {"measure_weights": {"mood": [1, 2]}},
        {"measure_weights": {"duration": [1]}},
        {"measure_weights": 3},
    ],
)
def test_refuses_other_files(tmp_path, change):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(GOOD))
    Calibration.load(path)
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(SVError, match=r"c.json: is not a calibration"):
        Calibration.load(path)
    path.write_text("[]")
    with pytest.raises(SVError, match="is not a calibration"):
        Calibration.load(path)
    with pytest.raises(SVError, match="cannot be read"):
        Calibration.load(tmp_path / "ghost.json")
