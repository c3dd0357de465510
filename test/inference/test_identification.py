"""Open-set identification: who of the enrolled speakers spoke, or nobody."""

import json
import math

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.inference.decision import Quality, ScoreDecision
from espnet2_sv.inference.identification import identify
from espnet2_sv.inference.speaker_store import SpeakerStore
from espnet2_sv.inference.speaker_template import SpeakerTemplate
from espnet2_sv.scoring.calibration import Calibration

DIM = 12


def one(row, seconds=3.0):
    return SpeakerTemplate.of_recordings(row[None], [seconds], [seconds])


def made(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, DIM))
    seconds = rng.uniform(1, 30, count)
    store = SpeakerStore()
    for i in range(count):
        store.add(f"s{i}", one(rows[i], seconds[i]))
    return store, rng.normal(size=DIM)


@pytest.mark.parametrize("measures", [{}, {"duration": (0.7, -0.4)}])
@pytest.mark.parametrize("count, top_k", [(1, 5), (5, 5), (200, 1), (200, 7)])
def test_the_best_are_those_of_a_loop(count, top_k, measures):
    store, row = made(count)
    calibration = Calibration(6.0, -2.0, measures, {})
    unknown = one(row)
    found = identify(store, unknown, ScoreDecision(calibration), top_k)
    expected = []
    for name in store:
        known = store[name]
        score = float(known.embedding @ unknown.embedding)
        llr = float(
            calibration.llr(score, enroll_duration=known.seconds, test_duration=3.0)
        )
        expected.append((llr, name, score))
    expected = sorted(expected, reverse=True)[:top_k]
    assert found.names == [name for _, name, _ in expected]
    assert found.llrs == pytest.approx([llr for llr, _, _ in expected], abs=1e-5)
    assert found.scores == pytest.approx([score for _, _, score in expected], abs=1e-6)
    assert found == list(zip(found.names, found.scores, strict=True))
    assert found.decision == (
        found.names[0] if found.llrs[0] >= found.threshold else "unknown"
    )
    assert json.loads(json.dumps(found.to_dict()))["enrolled"] == count


def test_equal_scores_are_all_candidates():
    store = SpeakerStore()
    for i in range(9):
        store.add(f"s{i}", one(np.ones(DIM)))
    found = identify(store, one(np.ones(DIM)), ScoreDecision(threshold=0.5), 4)
    assert found.names == ["s0", "s1", "s2", "s3"]
    assert found.decision == "s0"


@pytest.mark.parametrize("enrolled", [1, 10, 1000])
@pytest.mark.parametrize("rate", [0.2, 0.01])
def test_strangers_are_accepted_at_most_at_the_stated_rate(enrolled, rate):
    """For calibrated ratios of any spread: normal, of variance twice minus the mean."""
    threshold = ScoreDecision(Calibration(1.0, 0.0, {}, {})).for_search(enrolled, rate)
    assert threshold.threshold_on == "llr"
    rng = np.random.default_rng(0)
    for deviation in (0.5, 1.5, 3.0, 5.0):
        best = np.concatenate(
            [
                rng.normal(-(deviation**2) / 2, deviation, (500, enrolled)).max(axis=1)
                for _ in range(8)
            ]
        )
        found = np.mean(best >= threshold.threshold)
        # three standard errors above the rate that is promised
        assert found <= rate + 3 * math.sqrt(rate / len(best))


def test_the_threshold_is_exact_for_the_worst_distribution():
    """Ratios of 0 or c: each of N accepts with 1/c, which Markov's bound meets."""
    for enrolled in (1, 7, 10**6):
        search = ScoreDecision(Calibration(1.0, 0.0, {}, {})).for_search(enrolled, 0.05)
        each = math.exp(-search.threshold)
        assert 1 - (1 - each) ** enrolled == pytest.approx(0.05, rel=1e-6)


def test_what_a_model_cannot_give_is_told():
    calibrated = Calibration(1.0, 0.0, {}, {})
    assert ScoreDecision().for_search(5).threshold is None
    alone = ScoreDecision(threshold=0.3).for_search(5)
    assert (alone.threshold, alone.threshold_on) == (0.3, "score")
    assert "single comparison" in alone.note
    for decision in (
        ScoreDecision(),
        ScoreDecision(threshold=0.3),
        ScoreDecision(calibrated, threshold=0.3),
    ):
        with pytest.raises(SVError, match="rate"):
            decision.for_search(5, 0.01)
    for rate in (0.0, 1.0, math.nan, -1.0):
        with pytest.raises(SVError, match="probability"):
            ScoreDecision(calibrated).for_search(5, rate)


def test_ratios_of_arrays_are_those_of_numbers():
    calibration = Calibration(2.0, 0.1, {"duration": (1.0, 0.5)}, {})
    decision = ScoreDecision(calibration)
    seconds = np.array([1.0, 4.0, 9.0])
    test = Quality(2.0, 1.0)
    scores = np.array([0.1, 0.5, -0.2])
    found = decision.llrs(scores, Quality(seconds, np.ones(3)), test)
    for i in range(3):
        alone = decision(scores[i], Quality(seconds[i], 1.0), test)
        assert found[i] == pytest.approx(alone.llr)
