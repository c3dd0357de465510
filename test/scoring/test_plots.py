import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from espnet2_sv.scoring.metrics import equal_error_rate, min_dcf
from espnet2_sv.scoring.plots import det_curve, plot_det, plot_histogram
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


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig

    def remember(self, *args, **kwargs):
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


def curve(n_target, n_nontarget, distance):
    rng = np.random.default_rng(0)
    labels = np.arange(n_target + n_nontarget) < n_target
    return det_curve(
        roc_points(rng.normal(size=len(labels)) + distance * labels, labels)
    )


@pytest.mark.parametrize("size", [(2, 3), (20_000, 90_000)])
@pytest.mark.parametrize("distance", [-3, 2, 100])
def test_det_reads_well(tmp_path, drawn, size, distance):
    plot_det(
        {"one": curve(*size, distance), "two": curve(*size, 1)},
        tmp_path / "det.png",
        "Title",
    )
    (figure,) = drawn
    axes = figure.axes[0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "one" in labels
    assert sum("EER" in label for label in labels) == 2
    assert "%" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()
    figure.draw_without_rendering()
    for axis in (axes.xaxis, axes.yaxis):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        assert len(boxes) >= 5
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    box, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= box.x0
    assert box.x1 <= page.x1
    with Image.open(tmp_path / "det.png") as picture:
        assert picture.size[0] > 600


def test_markers_lie_on_the_curve(tmp_path, drawn):
    det = curve(3000, 3000, 2)
    plot_det({"one": det}, tmp_path / "det.png")
    line, *markers = drawn[0].axes[0].get_lines()[:4]
    for marker in markers:
        x, y = (float(data[0]) for data in marker.get_data())
        assert np.interp(x, *line.get_data()) == pytest.approx(y, abs=0.02)


@pytest.mark.parametrize(
    "scores", [[0.1, 0.2, 0.7, 0.9], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]]
)
def test_histogram_shows_both_classes_and_the_threshold(tmp_path, drawn, scores):
    labels = np.array([False, False, True, True])
    plot_histogram(
        np.array(scores, float), labels, tmp_path / "scores.png", 0.5, "Title"
    )
    texts = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert sorted(text.split()[0] for text in texts) == ["EER", "nontarget", "target"]
