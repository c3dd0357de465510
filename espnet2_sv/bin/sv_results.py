#!/usr/bin/env python3
"""Collect the results of several systems into one table."""

import argparse

from espnet2_sv.bin import options
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write
from espnet2_sv.scoring.espnet_results import Experiment, espnet_markdown
from espnet2_sv.scoring.results import Layout, layout_markdown, results_markdown


def get_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = options.make_parser(
        __doc__,
        epilog=(
            "A system.json beside a metrics.json adds columns; sv_describe writes it."
        ),
    )
    options.add_output(parser, "Markdown file to write or replace", "--outpath")
    parser.add_argument("--title", default="Results", help="Heading of the page")
    parser.add_argument(
        "--layout",
        metavar="FILE",
        help=(
            "YAML file with sets (headings by name), protocols (title, kind, suffix),"
            " systems (description, name, published) and notes: one table per protocol"
            " with the sets side by side. NAME is then EXPERIMENT/SET/KIND. Without it:"
            " one table, one row per NAME"
        ),
    )
    parser.add_argument(
        "--espnet_output",
        metavar="FILE",
        help=(
            "Also write the results as ESPnet's speaker recipes have them in their"
            " README.md. NAME is then EXPERIMENT/SET/KIND"
        ),
    )
    parser.add_argument(
        "--exp",
        action="append",
        default=[],
        metavar="EXPERIMENT=DIR",
        help=(
            "For --espnet_output: the folder of an experiment, whose config.yaml names"
            " its training configuration and whose hub.json, a mapping from 'repo' to"
            " ORGANISATION/NAME, the model on the Hub; can be given several times"
        ),
    )
    parser.add_argument(
        "systems", nargs="*", metavar="NAME=metrics.json", help="Rows, in order"
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Write the table."""
    args = get_parser().parse_args(cmd)
    systems = _by_name(args.systems, "NAME=DIR/metrics.json")
    folders = _by_name(args.exp, "--exp EXPERIMENT=DIR")
    args.metrics = list(systems.values())
    outputs = [args.output, args.espnet_output]
    options.keep_inputs(args, ("layout", "metrics"), outputs)
    layout = Layout.read(args.layout) if args.layout else None
    if layout is not None:
        page = layout_markdown(args.title, layout, systems)
    elif systems:
        page = results_markdown(args.title, systems)
    else:
        raise SVError("give at least one NAME=DIR/metrics.json")
    pages = {args.output: page}
    if args.espnet_output:
        experiments = {name: Experiment.read(path) for name, path in folders.items()}
        pages[args.espnet_output] = espnet_markdown(systems, experiments, layout)
    for path, page in pages.items():
        with atomic_write(path) as f:
            f.write(page)


def _by_name(items: list[str], form: str) -> dict[str, str]:
    """Split ``NAME=PATH`` of which no name occurs twice."""
    found: dict[str, str] = {}
    for item in items:
        name, _, path = item.partition("=")
        if not name or not path:
            raise SVError(f"'{item}': give {form}")
        if name in found:
            raise SVError(f"'{item}': the name {name} is given twice")
        found[name] = path
    return found


if __name__ == "__main__":
    run(main)
