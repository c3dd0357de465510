"""DET curves, as numbers and drawn, and score histograms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_sv.errors import printable
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.metrics import P_TARGETS
from espnet2_sv.scoring.roc import Roc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Axis ticks in percent, by priority: a tick too close to an earlier one is left out.
_TICKS = (
    "1 10 0.1 5 20 40 0.01 60 0.5 2 80 0.2 0.001 90 30 70 95 99 0.05 0.02 1e-4 50 98"
    " 99.5"
)
_TICK_DISTANCE = 0.05  # minimum, as a fraction of the axis
_MARKERS = "o^sD"


@dataclass(frozen=True)
class OperatingPoint:
    """A named point of a curve; rates are fractions."""

    name: str
    p_fa: float
    p_miss: float
    threshold: float


@dataclass(frozen=True)
class Det:
    """A decimated DET curve.

    Attributes:
        p_fa: (P,) ascending false alarm rates, as fractions.
        p_miss: (P,) descending miss rates, as fractions.
        thresholds: (P,) descending; the first is +inf.
        points: The operating points.
        smallest: Smallest nonzero (false alarm, miss) rate: that of one trial.
    """

    p_fa: np.ndarray
    p_miss: np.ndarray
    thresholds: np.ndarray
    points: list[OperatingPoint]
    smallest: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; infinite thresholds become None."""
        thresholds = [t if np.isfinite(t) else None for t in self.thresholds.tolist()]
        return {
            "p_fa": self.p_fa.tolist(),
            "p_miss": self.p_miss.tolist(),
            "threshold": thresholds,
            "points": [
                {"name": p.name, "p_fa": p.p_fa, "p_miss": p.p_miss}
                | {"threshold": p.threshold if np.isfinite(p.threshold) else None}
                for p in self.points
            ],
        }


def det_curve(roc: Roc, max_points: int = 2000) -> Det:
    """Decimate a ROC to points that are evenly spaced on the probit scale.

    Args:
        roc: The ROC.
        max_points: Upper bound on the number of points, apart from both ends.

    Returns:
        The curve, with the EER and the minimum DCF points of
        :data:`~espnet2_sv.scoring.metrics.P_TARGETS` marked.
    """
    from scipy.special import ndtri

    smallest = (1 / roc.n_nontarget, 1 / roc.n_target)
    p_fa, p_miss = roc.p_fa, roc.p_miss
    x, y = (
        ndtri(np.clip(rate, low / 2, 1 - low / 2))
        for rate, low in zip((p_fa, p_miss), smallest, strict=True)
    )
    travelled = np.cumsum(np.hypot(np.diff(x, prepend=x[0]), np.diff(y, prepend=y[0])))
    wanted = np.linspace(0, travelled[-1], max_points)
    keep = np.unique(np.searchsorted(travelled, wanted).clip(max=len(travelled) - 1))
    keep = np.union1d(keep, [0, len(travelled) - 1])
    return Det(p_fa[keep], p_miss[keep], roc.thresholds[keep], _points(roc), smallest)


def _points(roc: Roc) -> list[OperatingPoint]:
    eer, threshold = roc.crossing()
    points = [OperatingPoint("EER", eer, eer, threshold)]
    for p_target in P_TARGETS.values():
        _, threshold = roc.min_dcf(p_target)
        i = int(np.flatnonzero(roc.thresholds == threshold)[0])
        name = f"minDCF({p_target:g})"
        points.append(
            OperatingPoint(name, float(roc.p_fa[i]), float(roc.p_miss[i]), threshold)
        )
    return points


def plot_det(curves: Mapping[str, Det], path: str | PathLike, title: str = "") -> None:
    """Draw DET curves: axes in percent, on the probit scale.

    Args:
        curves: Curves by name of the system.
        path: PNG file to write.
        title: Title of the figure.
    """
    from matplotlib.figure import Figure
    from scipy.special import ndtri

    figure = Figure(figsize=(7.0, 8.0), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    limits = _limits(curves.values())
    low, high = limits
    for number, (name, det) in enumerate(curves.items()):
        colour = f"C{number}"
        line = (
            ndtri(np.clip(rate, low / 10, 0.999)) for rate in (det.p_fa, det.p_miss)
        )
        label = plain(name) if len(curves) > 1 else None  # one: the title says it
        axes.plot(*line, color=colour, label=label, linewidth=1.6)
        for marker, point in zip(_MARKERS, det.points, strict=False):
            where = [
                ndtri(np.clip(rate, low, high)) for rate in (point.p_fa, point.p_miss)
            ]
            label = _describe(point)
            style: dict[str, Any] = {
                "color": colour,
                "markersize": 7,
                "markeredgecolor": "k",
                "clip_on": False,
            }
            axes.plot(*where, marker, label=label, **style)
    edge = [ndtri(low), ndtri(high)]
    axes.plot(edge, edge, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
    ticks = _ticks(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ndtri(ticks / 100), [f"{tick:g}" for tick in ticks])
    axes.set(
        xlim=edge,
        ylim=edge,
        xlabel="false alarms: nontarget trials accepted (%)",
        ylabel="misses: target trials rejected (%)",
        title=plain(title),
    )
    axes.set_aspect("equal")
    axes.grid(color="0.9")
    figure.legend(
        loc="outside lower center",
        fontsize="small" if len(curves) == 1 else "x-small",
        ncols=min(len(curves), 2),
    )
    _save(figure, path)


def plot_histogram(
    scores: np.ndarray,
    labels: np.ndarray,
    path: str | PathLike,
    threshold: float,
    title: str = "",
) -> None:
    """Draw the densities of target and nontarget scores and the EER threshold.

    Args:
        scores: (K,).
        labels: (K,) true for targets.
        path: PNG file to write.
        threshold: The EER threshold.
        title: Title of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    bins: int | list[float] = 10
    if np.ptp(scores):
        bins = np.linspace(scores.min(), scores.max() or 1, 101).tolist()
    for side, name, colour in ((~labels, "nontarget", "C1"), (labels, "target", "C0")):
        label = f"{name} ({np.count_nonzero(side):,})"
        axes.hist(
            scores[side], bins, density=True, alpha=0.6, color=colour, label=label
        )
    axes.axvline(
        threshold, color="k", linestyle="--", label=f"EER threshold {threshold:.3g}"
    )
    axes.set(xlabel="score", ylabel="density", title=plain(title))
    axes.legend(fontsize="small")
    _save(figure, path)


def _ticks(low: float, high: float) -> np.ndarray:
    """Ticks in percent between two rates, far enough apart for their labels."""
    from scipy.special import ndtri

    room = _TICK_DISTANCE * (ndtri(high) - ndtri(low))
    kept: list[float] = []
    for tick in map(float, _TICKS.split()):
        if low <= tick / 100 <= high and all(
            abs(ndtri(tick / 100) - ndtri(other / 100)) >= room for other in kept
        ):
            kept.append(tick)
    return np.array(sorted(kept))


def _limits(curves: Iterable[Det]) -> tuple[float, float]:
    """Smallest and largest rate to show: all operating points lie within."""
    smallest = min(min(det.smallest) for det in curves)
    largest = max(max(p.p_fa, p.p_miss) for det in curves for p in det.points)
    low = float(np.clip(smallest / 2, 1e-6, 0.01))
    return low, float(np.clip(largest * 1.3, 0.4, 0.995))


def _describe(point: OperatingPoint) -> str:
    """E.g. ``EER: 2.50 %``, or ``minDCF 0.01: 0.02 % false alarms, 23 % misses``."""
    if point.name == "EER":
        return f"EER: {100 * point.p_fa:.2f} %"
    rates = f"{100 * point.p_fa:.2g} % false alarms, {100 * point.p_miss:.3g} % misses"
    return f"{point.name.replace('(', ' ').rstrip(')')}: {rates}"


def plain(text: str) -> str:
    """Return text as matplotlib shows it literally: ``$`` starts no mathematics.

    A leading ``_``, which hides an entry of a legend, gets a space before it.
    """
    shown = printable(text, 200).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _save(figure: "Figure", path: str | PathLike) -> None:
    with atomic_write(path, "wb") as f:
        figure.savefig(f, format="png")
