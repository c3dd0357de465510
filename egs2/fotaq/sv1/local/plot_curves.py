#!/usr/bin/env python3
"""Plot learning curves of the ASR models and of the speaker networks.

    plot_curves.py --expdir exp --folds 1 2 3 --output exp/curves.png

On the left, each fold's character error rate on its asr_dev set (greedy CTC) by epoch.
On the right, the best EER of the validation trials until each epoch: means over folds
and seeds, and a band of one standard deviation. A training that has ended stays at its
best. A --panel names the systems of one plot; untrained ones are left out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.train.checkpoint import read_epochs

PANELS = [
    ["scratch", "transfer", "adaptor", "distill"],
    ["adaptor", "adaptor_random", "adaptor_last", "transfer_early", "student"],
]
# Okabe and Ito's palette for colour-blind readers (https://jfly.uni-koeln.de/color/);
# the lines differ, too.
STYLES = [
    ("#0072B2", "o-"),
    ("#D55E00", "s--"),
    ("#009E73", "^-."),
    ("#CC79A7", "D:"),
    ("#E69F00", "v-"),
    ("#56B4E9", "P--"),
    ("#000000", "x-."),
    ("#777777", "+:"),
]


def read_curve(exp: Path, key: str) -> np.ndarray:
    """Read a validation statistic by epoch (E,).

    Args:
        exp: Folder with ESPnet's checkpoint.pth.
        key: Name of the value, e.g. ``eer``.

    Raises:
        SVError: There is no such file or value.
    """
    stats = read_epochs(exp)
    try:
        return np.array([stats[epoch]["valid"][key] for epoch in sorted(stats)], float)
    except (KeyError, TypeError) as e:
        path = exp / "checkpoint.pth"
        raise SVError(
            f"{path}: has no validation {key}; it is of another training"
        ) from e


def read_system(
    expdir: Path, folds: Sequence[str], name: str, seeds: Sequence[str]
) -> np.ndarray:
    """Return the lowest EERs so far of a system's N trainings (N, E).

    E is the length of the longest; the others end with their best. A mean over those
    that still go on would rise and fall with who they are.
    """
    exps = [
        expdir / f"fold{fold}" / f"sv_{name}_seed{seed}"
        for fold in folds
        for seed in seeds
    ]
    curves = [
        read_curve(exp, "eer") for exp in exps if (exp / "checkpoint.pth").exists()
    ]
    epochs = max(map(len, curves), default=0)
    best = [
        np.pad(np.minimum.accumulate(curve), (0, epochs - len(curve)), mode="edge")
        for curve in curves
    ]
    return np.array(best).reshape(len(curves), epochs)


def draw_asr(axes: Axes, curves: dict[str, np.ndarray]) -> None:
    """Draw character error rates (E,), as fractions, by fold."""
    for (fold, curve), (color, style) in zip(curves.items(), STYLES, strict=False):
        epochs = np.arange(1, len(curve) + 1)
        axes.plot(
            epochs, 100 * curve, style, color=color, markersize=3, label=f"fold {fold}"
        )
    axes.set(title="ASR models", ylabel="CER (%) of held-out texts", ylim=(0, None))


def draw_systems(
    axes: Axes, systems: dict[str, np.ndarray], styles: dict[str, tuple[str, str]]
) -> None:
    """Draw EERs (N, E) in percent of each system, in its colour and line style."""
    for name, curves in systems.items():
        color, style = styles[name]
        epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
        spread = curves.std(axis=0)
        axes.fill_between(
            epochs, mean - spread, mean + spread, color=color, alpha=0.12, lw=0
        )
        axes.plot(
            epochs,
            mean,
            style,
            color=color,
            markersize=4,
            label=f"{name} ({len(curves)})",
        )
    axes.set(
        title="Speaker networks (and trainings)", ylabel="best EER (%) of validation"
    )


def main(cmd: list[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expdir", type=Path, default=Path("exp"))
    parser.add_argument("--folds", nargs="+", default=["1", "2", "3"])
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--output", required=True, type=Path, help="PNG file to write")
    parser.add_argument(
        "--panel",
        action="append",
        nargs="+",
        metavar="SYSTEM",
        help=(
            f"systems of one plot, at most {len(STYLES)} in all; default:"
            f" {', and '.join(map(' '.join, PANELS))}"
        ),
    )
    args = parser.parse_args(cmd)
    panels = args.panel or PANELS
    asr = {
        f: read_curve(args.expdir / f"fold{f}/asr/train", "cer_ctc") for f in args.folds
    }
    names = list(dict.fromkeys(name for panel in panels for name in panel))
    if len(names) > len(STYLES):
        raise SVError(
            f"--panel names {len(names)} systems, which is more than {len(STYLES)}"
        )
    styles = dict(zip(names, STYLES, strict=False))
    found = {
        name: read_system(args.expdir, args.folds, name, args.seeds) for name in names
    }
    panels = [
        {name: found[name] for name in panel if found[name].size} for panel in panels
    ]
    panels = [panel for panel in panels if panel]
    figure = Figure(
        figsize=(4.4 * (1 + len(panels)), 4.2), dpi=150, layout="constrained"
    )
    first, *others = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    draw_asr(first, asr)
    for axes, panel in zip(others, panels, strict=True):
        draw_systems(axes, panel, styles)
        if axes is not others[0]:
            axes.sharey(others[0])
    for axes in (first, *others):
        axes.set(xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.9")
        axes.legend()
    with atomic_write(args.output, "wb") as stream:
        figure.savefig(stream, format="png")


if __name__ == "__main__":
    run(main)
