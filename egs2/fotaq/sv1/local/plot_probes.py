#!/usr/bin/env python3
"""Plot the results of local/probe.sh: EER by block of the ASR encoder.

    plot_probes.py --expdir exp --folds 1 2 3 --output exp/probes.png

Thick lines are means over folds, thin ones single folds. The means are also written as
a table to the same name with the suffix .md.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.report import markdown_table

# Folder in foldF/probe: label, colour and line style. The colours are Okabe and Ito's
# palette for colour-blind readers (https://jfly.uni-koeln.de/color/).
KINDS = {
    "asr": ("ASR model", "#0072B2", "o-"),
    "asr_real": ("ASR model, real speech only", "#D55E00", "s--"),
    "asr_early": ("early in that training", "#E69F00", "v-."),
    "asr_random": ("untrained encoder", "#555555", "^:"),
}
DOSES = ("asr_real", "asr_early")  # made with --doses true only


def read_probes(
    expdir: Path, folds: list[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read the reports.

    Args:
        expdir: Directory of experiments.
        folds: Numbers of the folds.

    Returns:
        Names of the L blocks, and by kind the EERs in percent (folds, L). Models of
        lower quality that no fold has are left out.

    Raises:
        SVError: A report is missing, or its blocks differ from those of the others.
    """
    names, rates = None, {}
    probes = [expdir / f"fold{fold}" / "probe" for fold in folds]
    for kind in KINDS:
        if kind in DOSES and not any((probe / kind).exists() for probe in probes):
            continue
        rows = []
        for fold in folds:
            path = expdir / f"fold{fold}" / "probe" / kind / "layer_probe.json"
            try:
                layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
            except OSError as e:
                raise SVError(
                    f"{path}: cannot be read; run local/probe.sh --fold {fold}"
                ) from e
            found = [layer["name"] for layer in layers]
            names = names or found
            if found != names:
                raise SVError(
                    f"{path}: has other blocks than other folds; run all probes again"
                )
            rows.append([layer["eer"] for layer in layers])
        rates[kind] = np.array(rows)
    return names, rates


def table(names: list[str], rates: dict[str, np.ndarray]) -> str:
    """Return a Markdown table of the means over folds."""
    means = [values.mean(axis=0) for values in rates.values()]
    rows = [[name, *(f"{m[i]:.1f}" for m in means)] for i, name in enumerate(names)]
    return markdown_table(["EER (%) of", *(KINDS[kind][0] for kind in rates)], rows)


def draw(names: list[str], rates: dict[str, np.ndarray]) -> Figure:
    """Draw one line per kind and fold, and the means."""
    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    blocks = np.arange(1, len(names) + 1)
    for kind, values in rates.items():
        label, color, style = KINDS[kind]
        axes.plot(blocks, values.T, style[1:], color=color, linewidth=0.8, alpha=0.45)
        axes.plot(
            blocks, values.mean(axis=0), style, color=color, linewidth=2.2, label=label
        )
    axes.set_xticks(blocks, [name.removeprefix("block ") for name in names])
    axes.set(xlabel="block of the encoder", ylabel="EER (%)", ylim=(0, None))
    axes.set_title(
        "Unseen speakers, mean and deviation of a block's output", fontsize=11
    )
    axes.grid(color="0.9")
    title = f"mean of {len(values)} folds; thin: each" if len(values) > 1 else None
    axes.legend(title=title, loc="lower right")
    return figure


def read_arguments(description: str, cmd: list[str] | None) -> argparse.Namespace:
    """Read the command line of a picture of all folds: expdir, folds and output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--expdir", type=Path, default=Path("exp"))
    parser.add_argument("--folds", nargs="+", default=["1", "2", "3"])
    parser.add_argument("--output", required=True, type=Path, help="PNG file to write")
    return parser.parse_args(cmd)


def write_picture(output: Path, figure: Figure, text: str) -> None:
    """Write a figure as PNG, and its table to the same name with the suffix .md."""
    with atomic_write(output, "wb") as stream:
        figure.savefig(stream, format="png")
    with atomic_write(output.with_suffix(".md")) as stream:
        stream.write(text)


def main(cmd: list[str] | None = None) -> None:
    """Write the figure and the table."""
    args = read_arguments(__doc__.splitlines()[0], cmd)
    found = read_probes(args.expdir, args.folds)
    write_picture(args.output, draw(*found), table(*found))


if __name__ == "__main__":
    run(main)
