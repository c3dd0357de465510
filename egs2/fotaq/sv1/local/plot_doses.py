#!/usr/bin/env python3
"""Plot speaker verification against the quality of the ASR model it starts from.

    plot_doses.py --expdir exp --folds 1 2 3 --output exp/results/doses.png

One line per way: EER of the pooled folds, with its 95 % interval, over the character
error rate (greedy CTC) of the ASR models on clips of unseen characters, a mean over the
folds. Written to the same name with the suffix .md as a table, too.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from plot_probes import read_arguments, write_picture

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import read_json
from espnet2_sv.scoring.report import markdown_table

# ASR models, best first: name in recognition.json, label, and what starts from it by
# transfer and by adaptor
DOSES = (
    ("asr", "synthetic and real speech", "transfer", "adaptor"),
    ("asr_real", "real speech", "transfer_real", "adaptor_real"),
    ("asr_early", "real speech, early", "transfer_early", "adaptor_early"),
    ("asr_random", "untrained", "scratch", "adaptor_random"),
)
# Okabe and Ito's palette for colour-blind readers (https://jfly.uni-koeln.de/color/)
WAYS = {"transfer": ("#0072B2", "o-"), "adaptor": ("#D55E00", "s--")}


class Point(NamedTuple):
    """An ASR model and what starts from it; rates in percent."""

    label: str
    cer: float
    eer: dict[str, dict]  # by way: eer and eer_ci95


def read_points(expdir: Path, folds: list[str]) -> list[Point]:
    """Read the error rates of the ASR models and of the systems.

    Args:
        expdir: Directory of experiments.
        folds: Numbers of the folds.

    Returns:
        One point per ASR model that all folds have.

    Raises:
        SVError: Results are missing.
    """
    systems = read_json(expdir / "results/test_cosine.json")["systems"]
    found = [
        read_json(expdir / f"fold{fold}/recognition/recognition.json") for fold in folds
    ]
    points = []
    for model, label, *starts in DOSES:
        rates = [_character_errors(rates, model) for rates in found]
        named = zip(WAYS, starts, strict=True)
        eers = {way: systems[name] for way, name in named if name in systems}
        if eers and None not in rates:
            points.append(Point(label, float(np.mean(rates)), eers))
    if not points:
        raise SVError(f"{expdir}: no ASR model has both error rates; run stage 4 first")
    return points


def _character_errors(rates: dict, model: str) -> float | None:
    if model == "asr":
        return rates["asr_test_unseen"]["greedy"]["alone"]["cer"]
    for name, other in rates.get("others", {}).items():
        if name == model:
            return other["cer"]
    return None


def table(points: list[Point]) -> str:
    """Return a Markdown table."""
    rows = [
        [point.label, f"{point.cer:.1f}", *(_interval(point.eer.get(w)) for w in WAYS)]
        for point in points
    ]
    return markdown_table(
        ["ASR model", "CER (%)", *(f"{way}: EER (%)" for way in WAYS)], rows
    )


def _interval(system: dict | None) -> str:
    if system is None:
        return ""
    low, high = system["eer_ci95"] or (None, None)
    return f"{system['eer']:.1f}" + (f" [{low:.1f}, {high:.1f}]" if low else "")


def draw(points: list[Point]) -> Figure:
    """Draw one line per way, with intervals."""
    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for shift, (way, (color, style)) in zip((-0.3, 0.3), WAYS.items(), strict=True):
        own = [point for point in points if way in point.eer]
        rates = np.array([point.eer[way]["eer"] for point in own])
        ends = np.array(
            [
                point.eer[way]["eer_ci95"] or [r, r]
                for point, r in zip(own, rates, strict=True)
            ]
        )
        axes.errorbar(
            [point.cer + shift for point in own],  # so that both can be seen
            rates,
            yerr=np.abs(ends.T - rates),
            fmt=style,
            color=color,
            capsize=3,
            label=way,
        )
    for point in points:
        axes.annotate(
            point.label,
            (point.cer, 0),
            xytext=(-5, 4),
            textcoords="offset points",
            rotation=90,
            ha="right",
            fontsize=8,
            color="0.4",
        )
    axes.set(
        xlabel="CER (%) of the ASR model on unseen characters",
        ylabel="EER (%)",
        ylim=(0, None),
    )
    axes.set_title(
        "Unseen speakers, by the ASR model that is started from", fontsize=11
    )
    axes.grid(color="0.9")
    figure.legend(loc="outside lower center", ncols=len(WAYS))
    return figure


def write_doses(expdir: Path, folds: list[str], output: Path) -> None:
    """Write figure and table of the folds' results to ``output``."""
    points = read_points(expdir, folds)
    write_picture(output, draw(points), table(points))


def main(cmd: list[str] | None = None) -> None:
    """Write the figure and the table."""
    args = read_arguments(__doc__.splitlines()[0], cmd)
    write_doses(args.expdir, args.folds, args.output)


if __name__ == "__main__":
    run(main)
