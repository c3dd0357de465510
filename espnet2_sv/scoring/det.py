"""The DET curve as numbers: error rates on the probit scale, with its operating points."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet2_sv.scoring.metrics import P_TARGETS
from espnet2_sv.scoring.roc import Roc


@dataclass(frozen=True)
class OperatingPoint:
    """A named point of a curve; rates are fractions."""

    name: str
    p_fa: float
    p_miss: float
    threshold: float


@dataclass(frozen=True)
class Det:
    """A thinned curve.

    Attributes:
        p_fa: (P,) rising false alarm rates, fractions.
        p_miss: (P,) falling miss rates, fractions.
        thresholds: (P,) falling; the first is +inf.
        points: The operating points.
        smallest: (false alarm, miss) rate that one trial stands for.
    """

    p_fa: np.ndarray
    p_miss: np.ndarray
    thresholds: np.ndarray
    points: list[OperatingPoint]
    smallest: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data; "accept nothing" has no finite threshold and gets None."""
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
    """Thin a ROC to points that are evenly apart on the probit scale, and mark the usual ones."""
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
