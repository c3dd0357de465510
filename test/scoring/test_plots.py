import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from espnet2_sv.scoring.plots import det_curve, plot_det, plot_histogram
from espnet2_sv.scoring.roc import roc_points


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
