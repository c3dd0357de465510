"""Showing what a layer probe has found."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from espnet2_sv.fileio import atomic_write
from espnet2_sv.inference.layer_probe import LayerResult
from espnet2_sv.scoring.report import markdown_table


def write_report(results: Sequence[LayerResult], output_dir: Path, title: str) -> str:
    """Write layer_probe.md, layer_probe.json and layer_probe.png.

    Args:
        results: One a layer.
        output_dir: Where to write.
        title: Heading, and the picture's title.

    Returns:
        The Markdown.
    """
    best = min(results, key=lambda result: result.eer)
    rows = [
        [f"**{r.name}**" if r is best else r.name, f"{r.eer:.2f}", _bracket(r)] for r in results
    ]
    table = markdown_table(["layer", "EER %", "95 % interval"], rows)
    text = f"# {title}\n\n{table}\nMean and standard deviation over time, cosine; best in bold.\n"
    content = {"title": title, "best": best.name, "layers": [asdict(r) for r in results]}
    _plot(results, output_dir / "layer_probe.png", title)
    with atomic_write(output_dir / "layer_probe.md") as stream:
        stream.write(text)
    with atomic_write(output_dir / "layer_probe.json") as stream:
        stream.write(json.dumps(content, indent=2) + "\n")
    return text


def _bracket(result: LayerResult) -> str:
    if result.eer_ci95 is None:
        return "-"
    low, high = result.eer_ci95
    return f"{low:.2f} to {high:.2f}"


def _plot(results: Sequence[LayerResult], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    width = max(6.4, 0.35 * len(results) + 2)
    figure = Figure(figsize=(width, 4.2), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for x, result in enumerate(results):
        if result.eer_ci95 is not None:
            axes.vlines(x, *result.eer_ci95, color="C0", alpha=0.4, linewidth=4)
    axes.plot([result.eer for result in results], "o-", color="C0")
    axes.set_xticks(range(len(results)), [r.name for r in results], rotation=60, ha="right")
    axes.set(ylabel="EER (%)", title=title, ylim=(0, None))
    axes.grid(color="0.9")
    with atomic_write(path, "wb") as stream:
        figure.savefig(stream, format="png")
