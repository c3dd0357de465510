import json

import numpy as np
import pytest

from espnet2_sv.scoring.metrics import equal_error_rate, min_dcf
from espnet2_sv.scoring.plots import det_curve
from espnet2_sv.scoring.roc import roc_points


@pytest.fixture(scope="module")
def roc():
    rng = np.random.default_rng(0)
    labels = rng.random(60_000) < 0.5
    return roc_points(rng.normal(size=60_000) + 3 * labels, labels)


def test_thinned_curve_keeps_its_shape(roc):
    det = det_curve(roc, max_points=500)
    assert len(det.p_fa) <= 502
    assert (det.p_fa[[0, -1]].tolist(), det.p_miss[[0, -1]].tolist()) == (
        [0, 1],
        [1, 0],
    )
    assert (np.diff(det.p_fa) >= 0).all()
    assert (np.diff(det.p_miss) <= 0).all()
    between = np.interp(roc.p_fa, det.p_fa, det.p_miss)
    well_sampled = (roc.p_fa > 0.01) & (roc.p_miss > 0.01)
    assert np.abs(between / np.maximum(roc.p_miss, 1e-9) - 1)[well_sampled].max() < 0.05


def test_points_are_where_the_metrics_say(roc):
    points = {point.name: point for point in det_curve(roc).points}
    eer = roc.equal_error_rate()
    assert points["EER"].p_fa == points["EER"].p_miss == eer.eer
    for p_target in (0.01, 0.05):
        point = points[f"minDCF({p_target})"]
        cost, threshold = roc.min_dcf(p_target)
        assert point.threshold == threshold
        assert point.p_miss + point.p_fa * (1 - p_target) / p_target == pytest.approx(
            cost
        )


@pytest.mark.parametrize("scores", [[0, 0, 1, 1], [1, 1, 0, 0], [5, 5, 5, 5]])
def test_extreme_lists_are_plain_data(scores):
    labels = np.array([False, False, True, True])
    det = det_curve(roc_points(np.array(scores, float), labels))
    text = json.dumps(det.to_json(), allow_nan=False)
    assert json.loads(text)["points"][0]["p_fa"] == equal_error_rate(scores, labels).eer
    assert min_dcf(scores, labels, 0.05)[0] <= 1
